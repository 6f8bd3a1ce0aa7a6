"""Slow, obvious word2vec with negative sampling, in float64, drawing from the same documented random streams.

Skip-gram and CBOW: T. Mikolov, K. Chen, G. Corrado, J. Dean, "Efficient estimation of word representations in vector
space", 2013. Negative sampling and subsampling: T. Mikolov et al., "Distributed representations of words and phrases
and their compositionality", NIPS 2013, equation 4 and section 2.3 (with word2vec.c's form of the keep probability).
Alias method: M. Vose, IEEE TSE 17(9), 1991. Random numbers: SplitMix64, G. Steele, D. Lea, C. Flood, OOPSLA 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
INITIAL_VECTORS, TOKENS, NEGATIVES, POOLS = 0, 1, 2, 3
POOL_STRETCH, POOL_WORDS = 512, 256


def mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def stream_key(seed: int, stream: int, epoch: int) -> int:
    return mix64((mix64((seed + GOLDEN) & MASK) + GOLDEN * (4 * epoch + stream + 1)) & MASK)


def draw(key: int, n: int) -> int:
    return mix64((key + GOLDEN * (n + 1)) & MASK)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def threshold_of(probability: float) -> int:
    return int(min(max(math.floor(probability * 2**32), 0), 2**32 - 1))


def noise_weights(counts: np.ndarray, exponent: float) -> list[float]:
    return [float(count) ** exponent if count > 0 else 0.0 for count in counts]


def plain_sum(values: list[float]) -> float:
    """Rounded after each step, as C++ does it; ``sum`` is more exact."""
    total = 0.0
    for value in values:
        total += value
    return total


def noise_parts(weights: list[float], parts: int) -> list[list[float]]:
    """What several workers draw from: four bands a part, all of the same weight, dealt out in the words' order."""
    band_weight = plain_sum(weights) / (4 * parts)
    shares = [[0.0] * len(weights) for _ in range(parts)]
    band, room = 0, band_weight
    for word, weight in enumerate(weights):
        left = weight
        while left >= room and band < 4 * parts - 1:
            shares[band % parts][word] += room
            left -= room
            band, room = band + 1, band_weight
        shares[band % parts][word] += left
        room -= left
    return shares


class AliasTable:
    def __init__(self, weights: list[float]) -> None:
        total = plain_sum(weights)
        scaled = [weight / total * len(weights) for weight in weights]
        self.threshold = [2**32 - 1] * len(weights)
        self.alias = list(range(len(weights)))
        small = [i for i, s in enumerate(scaled) if s < 1.0]
        large = [i for i, s in enumerate(scaled) if s >= 1.0]
        while small and large:
            low = small.pop()
            high = large[-1]
            self.threshold[low] = threshold_of(scaled[low])
            self.alias[low] = high
            scaled[high] -= 1.0 - scaled[low]
            if scaled[high] < 1.0:
                small.append(large.pop())

    def sample(self, random: int) -> int:
        column = ((random >> 32) * len(self.alias)) >> 32
        return column if (random & 0xFFFFFFFF) <= self.threshold[column] else self.alias[column]


def initial_vector(seed: int, word: int, vector_size: int) -> np.ndarray:
    key = stream_key(seed, INITIAL_VECTORS, 0)
    scale = np.float32(1.0) / np.float32(vector_size)
    uniform = [np.float32(draw(key, word * vector_size + i) >> 40) * np.float32(2.0**-24) for i in range(vector_size)]
    return np.array([(x - np.float32(0.5)) * scale for x in uniform], dtype=np.float32)


@dataclass
class Reference:
    """One-worker training. ``ids`` and ``offsets`` are the encoded sentences, ``counts`` the words' counts."""

    ids: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray
    vector_size: int
    sg: bool = True
    negative_sharing: str = "window"
    cbow_mean: bool = True
    shrink_windows: bool = True
    window: int = 5
    negative: int = 5
    epochs: int = 1
    alpha: float = 0.025
    min_alpha: float = 1e-4
    sample: float = 1e-3
    ns_exponent: float = 0.75
    seed: int = 1
    max_sentence_length: int = 10_000
    input_start: np.ndarray | None = None  # what training starts from, in place of the usual initial values
    output_start: np.ndarray | None = None
    corpus_counts: np.ndarray | None = None  # what subsampling goes by, in place of the counts
    noise_parts: int = 1  # more of them: as several workers draw that train less text than one takes at a time
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        words = len(self.counts)
        self.input = np.empty((words, self.vector_size))
        for word in range(words):
            self.input[word] = initial_vector(self.seed, word, self.vector_size)
        self.output = np.zeros((words, self.vector_size))
        if self.input_start is not None:
            self.input = self.input_start.astype(np.float64)
        if self.output_start is not None:
            self.output = self.output_start.astype(np.float64)
        weights = noise_weights(self.counts, self.ns_exponent)
        of_parts = noise_parts(weights, self.noise_parts) if self.noise_parts > 1 else [weights]
        self.tables = [AliasTable(part) for part in of_parts]
        corpus_counts = self.counts if self.corpus_counts is None else self.corpus_counts
        total = float(corpus_counts.sum())
        self.keep = []
        for count in corpus_counts:
            if self.sample <= 0 or count == 0:
                self.keep.append(2**32 - 1)
            else:
                ratio = count / (self.sample * total)
                self.keep.append(threshold_of((math.sqrt(ratio) + 1.0) / ratio))

    def train(self) -> Reference:
        for epoch in range(self.epochs):
            self.loss, self.positives = 0.0, 0
            for begin, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
                for piece in range(begin, end, self.max_sentence_length):
                    self.train_piece(epoch, piece, min(end, piece + self.max_sentence_length))
            self.losses.append(self.loss / self.positives if self.positives else math.nan)
        return self

    def train_piece(self, epoch: int, begin: int, end: int) -> None:
        token_key = stream_key(self.seed, TOKENS, epoch)
        kept = []
        for position in range(begin, end):
            random = draw(token_key, position)
            if (random >> 32) <= self.keep[self.ids[position]]:
                reach = 1 + (((random & 0xFFFFFFFF) * self.window) >> 32) if self.shrink_windows else self.window
                kept.append((position, int(self.ids[position]), reach))
        for i, (position, center, reach) in enumerate(kept):
            contexts = [kept[j][1] for j in range(max(0, i - reach), min(len(kept), i + reach + 1)) if j != i]
            if not contexts:
                continue
            done = (epoch * len(self.ids) + position) / (self.epochs * len(self.ids))
            rate = max(self.min_alpha, self.alpha - (self.alpha - self.min_alpha) * done)
            if not self.sg:
                self.cbow_step(contexts, self.targets(center, self.negatives(epoch, position, 0)), rate)
            elif self.negative_sharing == "window":
                self.skip_gram_step(contexts, self.targets(center, self.negatives(epoch, position, 0)), rate)
            else:
                for slot, context in enumerate(contexts):
                    self.skip_gram_step([context], self.targets(center, self.negatives(epoch, position, slot)), rate)

    def negatives(self, epoch: int, position: int, slot: int) -> list[int]:
        key = stream_key(self.seed, NEGATIVES, epoch)
        table = self.tables[epoch % len(self.tables)]
        if self.negative_sharing == "pair":
            slots = 2 * self.window if self.sg else 1
            first = (position * slots + slot) * self.negative
            return [table.sample(draw(key, first + n)) for n in range(self.negative)]
        pool_key = stream_key(self.seed, POOLS, epoch)
        words = []
        for n in range(self.negative):
            random = draw(key, position * ((self.negative + 7) // 8) + n // 8)
            pick = (random >> (8 * (n % 8))) & 0xFF
            words.append(table.sample(draw(pool_key, position // POOL_STRETCH * POOL_WORDS + pick)))
        return words

    def targets(self, center: int, negatives: list[int]) -> list[int]:
        return [center] + [word for word in negatives if word != center]

    def gradients(self, scores: np.ndarray, rate: float) -> np.ndarray:
        """scores[c][t] -> rate * (label - sigmoid(score)); target 0 is the positive. Adds the loss."""
        labels = np.zeros(scores.shape[1])
        labels[0] = 1.0
        z = np.where(labels == 1.0, -scores, scores)
        self.loss += float(np.logaddexp(0.0, z).sum())
        self.positives += scores.shape[0]
        return rate * (labels - sigmoid(scores))

    def skip_gram_step(self, contexts: list[int], targets: list[int], rate: float) -> None:
        inputs, outputs = self.input[contexts].copy(), self.output[targets].copy()
        g = self.gradients(inputs @ outputs.T, rate)
        for c, word in enumerate(contexts):
            self.input[word] += g[c] @ outputs
        for t, word in enumerate(targets):
            self.output[word] += g[:, t] @ inputs

    def cbow_step(self, contexts: list[int], targets: list[int], rate: float) -> None:
        outputs = self.output[targets].copy()
        hidden = self.input[contexts].sum(axis=0)
        if self.cbow_mean:
            hidden = hidden / len(contexts)
        g = self.gradients((outputs @ hidden)[None, :], rate)[0]
        error = g @ outputs
        if not self.cbow_mean:
            error = error / len(contexts)
        for word in contexts:
            self.input[word] += error
        for t, word in enumerate(targets):
            self.output[word] += g[t] * hidden
