"""Measures of quality: word similarity and word analogies.

Holds the two evaluations behind `WordVectors.evaluate_word_pairs` and `evaluate_analogies`, and their results.
Counting is gensim's, so that figures compare; the slow, obvious form of both is tests/reference/evaluation.py.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastembed.vectors import WordVectors

__all__ = ["AnalogyResult", "AnalogySection", "WordPairsResult", "evaluate_analogies", "evaluate_word_pairs"]

# Scores held at once: 64 MiB of float32.
_BLOCK_SCORES = 1 << 24
_PAIR_FIELDS = 3
_ANALOGY_FIELDS = 4


@dataclass(frozen=True)
class WordPairsResult:
    """How well cosines agree with human judgement.

    Attributes
    ----------
    pearson : float
        Pearson correlation of cosine and human score; NaN if fewer than two pairs count or a side is constant.
    spearman : float
        The same of the ranks, equal values sharing their average rank.
    coverage : float
        Fraction of the file's pairs whose two words are in the vocabulary.
    n_pairs : int
        Pairs that count.
    oov_pairs : int
        Pairs left out because a word is missing.
    """

    pearson: float
    spearman: float
    coverage: float
    n_pairs: int
    oov_pairs: int

    def __str__(self) -> str:
        total = self.n_pairs + self.oov_pairs
        return (
            f"Spearman {self.spearman:.4f}, Pearson {self.pearson:.4f}, "
            f"{self.n_pairs:,} of {total:,} pairs ({self.coverage:.1%} coverage)"
        )


@dataclass(frozen=True)
class AnalogySection:
    """Results of one section: answered questions that were right, and answered questions."""

    name: str
    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Fraction of the answered questions that were right; NaN if none was answered."""
        return self.correct / self.total if self.total else float("nan")

    def __str__(self) -> str:
        return f"{self.name}: {_percent(self.accuracy)} ({self.correct:,}/{self.total:,})"


@dataclass(frozen=True)
class AnalogyResult:
    """Results of an analogies file.

    Attributes
    ----------
    correct, total : int
        Right answers, and questions all of whose words are in the vocabulary.
    skipped : int
        Questions left out because a word is missing.
    sections : list of AnalogySection
    """

    correct: int
    total: int
    skipped: int
    sections: list[AnalogySection]

    @property
    def accuracy(self) -> float:
        """Fraction of the answered questions that were right; NaN if none was answered."""
        return self.correct / self.total if self.total else float("nan")

    def __str__(self) -> str:
        lines = [
            f"accuracy {_percent(self.accuracy)}: {self.correct:,} right of {self.total:,} answered, "
            f"{self.skipped:,} skipped for missing words"
        ]
        lines += [f"  {section}" for section in self.sections]
        return "\n".join(lines)


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{fraction:.1%}"


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, stripped, blank ones left out."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
        except UnicodeDecodeError as error:
            raise ValueError(f"{os.fspath(path)}: not UTF-8: {error}") from error


def _vocabulary(vectors: WordVectors, restrict_vocab: int | None, case_insensitive: bool) -> dict[str, int]:
    """Index by (folded) word of the first `restrict_vocab` words; of case variants the first counts."""
    if restrict_vocab is not None and restrict_vocab < 1:
        raise ValueError(f"restrict_vocab must be at least 1 or None, got {restrict_vocab}")
    words = vectors.index_to_key[:restrict_vocab]
    index: dict[str, int] = {}
    for position, word in enumerate(words):
        index.setdefault(word.upper() if case_insensitive else word, position)
    return index


def _average_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2.0)[group.reshape(-1)]


def _pearson(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    if x.size < 2 or x.min() == x.max() or y.min() == y.max():
        return float("nan")
    x = x - x.mean()
    y = y - y.mean()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def _pair_fields(line: str, comma: bool) -> list[str]:
    if comma:
        return [field.strip() for field in line.split(",")]
    if "\t" in line:
        return [field.strip() for field in line.split("\t") if field.strip()]
    return line.split()


def _read_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str, float]]:
    comma = os.fspath(path).lower().endswith(".csv")
    pairs: list[tuple[str, str, float]] = []
    header_allowed = True
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        fields = _pair_fields(line, comma)
        score = float("nan")
        if len(fields) >= _PAIR_FIELDS:
            try:
                score = float(fields[2])
            except ValueError:
                if header_allowed:
                    header_allowed = False
                    continue
        if not np.isfinite(score):
            raise ValueError(
                f"{os.fspath(path)}, line {number}: two words and a score were wanted "
                f"({'comma' if comma else 'white space'} between them), got {line[:80]!r}"
            )
        header_allowed = False
        pairs.append((fields[0], fields[1], score))
    if not pairs:
        raise ValueError(f"{os.fspath(path)}: holds no pairs of words")
    return pairs


def evaluate_word_pairs(
    vectors: WordVectors,
    path: str | os.PathLike[str],
    *,
    case_insensitive: bool = True,
    restrict_vocab: int | None = 300_000,
) -> WordPairsResult:
    """Correlate the cosines of word pairs with human scores.

    Parameters
    ----------
    vectors : WordVectors
    path : str or os.PathLike
        UTF-8, one pair a line: two words and a score, then anything; separated by tabs or else white space, in a .csv
        file by commas. Lines that begin with ``#`` are comments; the first other line may be a header.
    case_insensitive : bool, default True
        Compare upper-cased words; of case variants in the vocabulary the first counts.
    restrict_vocab : int or None, default 300_000
        Use the first so many words only.

    Returns
    -------
    WordPairsResult

    Raises
    ------
    ValueError
        A line is malformed (the message gives its number) or there is no pair.

    References
    ----------
    Finkelstein et al., "Placing Search in Context", ACM TOIS 20(1), 2002; Spearman's rho with average ranks for ties.
    """
    index = _vocabulary(vectors, restrict_vocab, case_insensitive)
    pairs = _read_pairs(path)
    human: list[float] = []
    cosines: list[float] = []
    for first, second, score in pairs:
        a = index.get(first.upper() if case_insensitive else first)
        b = index.get(second.upper() if case_insensitive else second)
        if a is not None and b is not None:
            human.append(score)
            cosines.append(vectors.similarity(vectors.index_to_key[a], vectors.index_to_key[b]))
    x, y = np.asarray(human, dtype=np.float64), np.asarray(cosines, dtype=np.float64)
    return WordPairsResult(
        pearson=_pearson(x, y),
        spearman=_pearson(_average_ranks(x), _average_ranks(y)),
        coverage=len(human) / len(pairs),
        n_pairs=len(human),
        oov_pairs=len(pairs) - len(human),
    )


def _read_analogies(path: str | os.PathLike[str]) -> list[tuple[str, list[list[str]]]]:
    sections: list[tuple[str, list[list[str]]]] = []
    for number, line in _lines(path):
        if line.startswith(":"):
            sections.append((line.lstrip(": "), []))
            continue
        words = line.split()
        if len(words) != _ANALOGY_FIELDS:
            raise ValueError(f"{os.fspath(path)}, line {number}: four words were wanted, got {line[:80]!r}")
        if not sections:
            sections.append(("(no section)", []))
        sections[-1][1].append(words)
    if not any(questions for _, questions in sections):
        raise ValueError(f"{os.fspath(path)}: holds no analogies")
    return sections


def _known_questions(
    sections: list[tuple[str, list[list[str]]]], index: dict[str, int], case_insensitive: bool
) -> tuple[npt.NDArray[np.intp], list[int]]:
    """Return the word indices of the questions without a missing word, shape (n, 4), and the section of each."""
    known: list[list[int]] = []
    section_of: list[int] = []
    for number, (_, questions) in enumerate(sections):
        for words in questions:
            indices = [index.get(word.upper() if case_insensitive else word, -1) for word in words]
            if -1 not in indices:
                known.append(indices)
                section_of.append(number)
    return np.asarray(known, dtype=np.intp).reshape(-1, _ANALOGY_FIELDS), section_of


def _variants(vectors: WordVectors, index: dict[str, int], rows: int) -> dict[int, list[int]]:
    """For each representative that has case variants, the indices of all of them."""
    variants: dict[int, list[int]] = {}
    if len(index) < rows:
        for position, word in enumerate(vectors.index_to_key[:rows]):
            variants.setdefault(index[word.upper()], []).append(position)
    return {representative: group for representative, group in variants.items() if len(group) > 1}


def _answers(
    vectors: WordVectors, questions: npt.NDArray[np.intp], rows: int, variants: dict[int, list[int]]
) -> npt.NDArray[np.intp]:
    """Row of the best answer to each question (a, b, c), the words of the question left out."""
    table = np.asarray(vectors.vectors)[:rows]
    norms = vectors._row_norms()[:rows]
    broken = np.flatnonzero(~np.isfinite(norms))  # rows with NaN or infinity are nobody's answer
    answers = np.empty(len(questions), dtype=np.intp)
    block_rows = max(1, _BLOCK_SCORES // rows)
    for start in range(0, len(questions), block_rows):
        block = questions[start : start + block_rows]
        with np.errstate(invalid="ignore", over="ignore"):
            a, b, c = (table[block[:, k]] / norms[block[:, k], None] for k in range(3))
            scores = np.nan_to_num(b + c - a) @ table.T
            scores /= norms
        scores[:, broken] = -np.inf
        scores[np.arange(len(block))[:, None], block] = -np.inf
        for row, question in enumerate(block.tolist() if variants else ()):
            for word in question:
                if word in variants:
                    scores[row, variants[word]] = -np.inf
        answers[start : start + block_rows] = scores.argmax(axis=1)
    return answers


def evaluate_analogies(
    vectors: WordVectors,
    path: str | os.PathLike[str],
    *,
    restrict_vocab: int | None = 300_000,
    case_insensitive: bool = True,
) -> AnalogyResult:
    """Answer questions "a is to b as c is to ?" with the nearest word to b - a + c.

    Parameters
    ----------
    vectors : WordVectors
    path : str or os.PathLike
        UTF-8, one question ``a b c d`` a line; a line ``: name`` begins a section.
    restrict_vocab : int or None, default 300_000
        Search, and accept in questions, the first so many words only.
    case_insensitive : bool, default True
        Compare upper-cased words; of case variants in the vocabulary the first counts, and none of a word of the
        question can be the answer.

    Returns
    -------
    AnalogyResult

    Raises
    ------
    ValueError
        A line is malformed (the message gives its number) or there is no question.

    Notes
    -----
    3CosAdd over unit vectors, as blocks of matrix products: 2 * questions * words * vector_size operations, 64 MiB
    of scores at a time. Counts as gensim's ``evaluate_word_analogies`` does, which however looks no further than
    five candidates, so that the two could differ where a word of the question has more than five case variants.

    References
    ----------
    Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", 2013, section 4; Levy and Goldberg,
    "Linguistic Regularities in Sparse and Explicit Word Representations", CoNLL 2014, eq. (2).
    """
    index = _vocabulary(vectors, restrict_vocab, case_insensitive)
    rows = len(vectors) if restrict_vocab is None else min(restrict_vocab, len(vectors))
    sections = _read_analogies(path)
    array, section_of = _known_questions(sections, index, case_insensitive)
    variants = _variants(vectors, index, rows) if case_insensitive else {}
    # A case variant of the expected word is right as well: compare representatives.
    representative = np.arange(rows)
    for word, group in variants.items():
        representative[group] = word
    answers = _answers(vectors, array[:, :3], rows, variants) if len(array) else np.empty(0, dtype=np.intp)
    right = representative[answers] == array[:, 3]
    totals = np.bincount(section_of, minlength=len(sections))
    corrects = np.bincount(section_of, weights=right, minlength=len(sections))
    records = [
        AnalogySection(name, int(correct), int(total))
        for (name, _), correct, total in zip(sections, corrects, totals, strict=True)
    ]
    asked = sum(len(questions) for _, questions in sections)
    return AnalogyResult(int(right.sum()), len(array), asked - len(array), records)
