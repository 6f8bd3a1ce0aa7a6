"""Slow, obvious skip-gram with negatives shared by a tile of 64 positions, in float64, one pair at a time.

The pairs and their gradient are those of T. Mikolov et al., NIPS 2013, equation 4. What is a tile's own: all pairs of
64 consecutive positions are one batch step, and the negatives are drawn once for the tile and weighted so that a
pair expects `negative` of them. With ``deterministic=True`` the tiles of a round are computed from the same vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reference.sgns import NEGATIVES, TOKENS, Reference, draw, stream_key

TILE, CHUNK = 64, 16_384
GROUPS = 4  # of the negatives of a CBOW tile: center j meets those of group j % 4 alone
MOST_LOAD, MOST_LOAD_CBOW = 4.0, 2.0


@dataclass
class TileReference(Reference):
    deterministic: bool = False

    def train(self) -> TileReference:
        tiles = self.round_tiles() if self.deterministic else 1
        for epoch in range(self.epochs):
            self.loss, self.positives = 0.0, 0
            for chunk in self.chunks():
                kept = self.keep_chunk(epoch, chunk)
                for round_begin in range(0, len(kept), TILE * tiles):
                    self.input_delta, self.output_delta = np.zeros_like(self.input), np.zeros_like(self.output)
                    for first in range(round_begin, min(round_begin + TILE * tiles, len(kept)), TILE):
                        (self.skip_gram_tile if self.sg else self.cbow_tile)(epoch, kept, first)
                    self.input += self.input_delta
                    self.output += self.output_delta
            self.losses.append(self.loss / self.positives if self.positives else math.nan)
        return self

    def round_tiles(self) -> int:
        """Up to 8, so that the updates of one row in a round, in units of a learning rate of 0.025, are up to 6."""
        counts = self.counts if self.corpus_counts is None else self.corpus_counts
        kept = counts * (np.array(self.keep) / 2.0**32)
        drawn = np.where(self.counts > 0, np.maximum(self.counts, 1.0) ** self.ns_exponent, 0.0)
        input_updates = kept.max() / kept.sum() * (1 + self.negative)
        output_updates = kept.max() / kept.sum() + self.negative * drawn.max() / drawn.sum()
        pairs = TILE * (self.window + 1 if self.shrink_windows else 2 * self.window)
        updates = pairs * max(input_updates, output_updates / 2) * self.alpha * self.alpha / 0.025
        return int(min(max(6 / updates, 1), 8))

    def chunks(self) -> list[list[tuple[int, int]]]:
        """Runs of whole pieces (begin, end) of at least CHUNK tokens each."""
        chunks: list[list[tuple[int, int]]] = [[]]
        for begin, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            for piece in range(begin, end, self.max_sentence_length):
                chunks[-1].append((piece, min(end, piece + self.max_sentence_length)))
                if chunks[-1][-1][1] - chunks[-1][0][0] >= CHUNK:
                    chunks.append([])
        return chunks

    def keep_chunk(self, epoch: int, pieces: list[tuple[int, int]]) -> list[tuple[int, int, list[int]]]:
        """(raw position, word, indices of the context words) of what subsampling leaves."""
        key = stream_key(self.seed, TOKENS, epoch)
        result = []
        for begin, end in pieces:
            kept = []
            for position in range(begin, end):
                random = draw(key, position)
                if (random >> 32) <= self.keep[self.ids[position]]:
                    reach = 1 + (((random & 0xFFFFFFFF) * self.window) >> 32) if self.shrink_windows else self.window
                    kept.append((position, int(self.ids[position]), reach))
            if len(kept) < 2:
                continue
            shift = len(result)
            for i, (position, word, reach) in enumerate(kept):
                contexts = [shift + j for j in range(max(0, i - reach), min(len(kept), i + reach + 1)) if j != i]
                result.append((position, word, contexts))
        return result

    def negative_count(self) -> int:
        if not self.sg:
            return GROUPS * ((min(max(self.negative, 8), 64) + 3) // 4 * 4)
        draws = self.negative * (self.window + 1 if self.shrink_windows else 2 * self.window)
        return min((draws + 15) // 16 * 16, 256)

    def begin(self, epoch: int, start: int) -> tuple[list[int], float]:
        """Negatives and learning rate of the tile whose first raw position is `start`."""
        key, count = stream_key(self.seed, NEGATIVES, epoch), self.negative_count()
        negatives = [self.tables[0].sample(draw(key, start * count + k)) for k in range(count)]
        done = (epoch * len(self.ids) + start) / (self.epochs * len(self.ids))
        return negatives, max(self.min_alpha, self.alpha - (self.alpha - self.min_alpha) * done)

    def skip_gram_tile(self, epoch: int, kept: list[tuple[int, int, list[int]]], first: int) -> None:
        negatives, rate = self.begin(epoch, kept[first][0])
        input_delta, output_delta = np.zeros_like(self.input), np.zeros_like(self.output)
        input_load, output_load = np.zeros(len(self.input)), np.zeros(len(self.output))
        weight, pairs = self.negative / len(negatives), 0

        def pair(word: int, target: int, label: float, weight: float) -> None:
            x = float(self.input[word] @ self.output[target])
            self.loss += weight * float(np.logaddexp(0.0, -x if label else x))
            g = rate * weight * (label - 1.0 / (1.0 + math.exp(-x)))
            input_delta[word] += g * self.output[target]
            output_delta[target] += g * self.input[word]

        last = min(first + TILE, len(kept))
        for _, center, contexts in kept[max(0, first - self.window) : last + self.window]:
            for i in contexts:
                if first <= i < last:
                    self.positives += 1
                    input_load[kept[i][1]] += 1 + self.negative
                    output_load[center] += 1
                    pairs += 1
                    pair(kept[i][1], center, 1.0, 1.0)
                    for negative in negatives:
                        if negative != center:
                            pair(kept[i][1], negative, 0.0, weight)
        output_load += pairs * weight * np.bincount(negatives, minlength=len(output_load))
        self.input_delta += scales(input_load, rate, MOST_LOAD) * input_delta
        self.output_delta += scales(output_load, rate, MOST_LOAD) * output_delta

    def cbow_tile(self, epoch: int, kept: list[tuple[int, int, list[int]]], first: int) -> None:
        drawn, rate = self.begin(epoch, kept[first][0])
        size = len(drawn) // GROUPS
        input_delta, output_delta = np.zeros_like(self.input), np.zeros_like(self.output)
        whole_load, alone_load = np.zeros(len(self.input)), np.zeros(len(self.input))
        output_load = np.zeros(len(self.output))
        used = set()
        weight = self.negative / size
        for j, (_, center, contexts) in enumerate(kept[first : first + TILE]):
            negatives = drawn[j % GROUPS * size :][:size]
            words = [kept[i][1] for i in contexts]
            used.update(contexts)
            hidden = self.input[words].sum(axis=0) / (len(words) if self.cbow_mean else 1)
            error = np.zeros_like(hidden)
            self.positives += 1
            output_load[center] += 1
            output_load += weight * np.bincount(negatives, minlength=len(output_load))
            weighted = [(n, 0.0, weight) for n in negatives if n != center]
            for target, label, share in [(center, 1.0, 1.0), *weighted]:
                x = float(hidden @ self.output[target])
                self.loss += share * float(np.logaddexp(0.0, -x if label else x))
                g = rate * share * (label - 1.0 / (1.0 + math.exp(-x)))
                error += g * self.output[target]
                output_delta[target] += g * hidden
            for word in words:
                input_delta[word] += error / (1 if self.cbow_mean else len(words))
                whole_load[word] += 1 + self.negative
                alone_load[word] += (1 + self.negative) / len(words)
        occurrences = np.bincount([kept[i][1] for i in used], minlength=len(self.input))
        load = np.maximum(alone_load, whole_load * occurrences / TILE)
        self.input_delta += scales(load, rate, MOST_LOAD_CBOW) * input_delta
        self.output_delta += scales(output_load, rate, MOST_LOAD_CBOW) * output_delta


def scales(load: np.ndarray, rate: float, most: float) -> np.ndarray:
    """What keeps the summed step of a row, whose pairs weigh `load`, from growing too long for convergence."""
    return np.minimum(1.0, most / np.maximum(rate * load, 1e-9))[:, None]
