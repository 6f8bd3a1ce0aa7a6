"""Slow, obvious evaluations in float64: what fastembed._evaluation is checked against.

Pearson's r and Spearman's rho by their definitions (average ranks for ties), and analogies by 3CosAdd (Levy and
Goldberg, CoNLL 2014, eq. 2): the word x, not among a, b, c, with the greatest cos(x, b) - cos(x, a) + cos(x, c).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    n = len(x)
    mean_x = math.fsum(x) / n
    mean_y = math.fsum(y) / n
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    variance_x = math.fsum((a - mean_x) ** 2 for a in x)
    variance_y = math.fsum((b - mean_y) ** 2 for b in y)
    return covariance / math.sqrt(variance_x * variance_y)


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of a value: how many are smaller, plus the mean of 1..k over the k equal ones."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    return pearson(ranks(x), ranks(y))


def cosine(x: Sequence[float], y: Sequence[float]) -> float:
    norms = math.sqrt(math.fsum(a * a for a in x)) * math.sqrt(math.fsum(b * b for b in y))
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / norms if norms else 0.0


def analogy_answer(
    vectors: Sequence[Sequence[float]], words: Sequence[str], question: Sequence[int], case_insensitive: bool
) -> int:
    """Index of the best answer to a : b = c : ?, no case variant of a, b, c allowed."""

    def fold(word: str) -> str:
        return word.upper() if case_insensitive else word

    a, b, c = question
    asked = {fold(words[a]), fold(words[b]), fold(words[c])}
    best, best_score = -1, -math.inf
    for index, vector in enumerate(vectors):
        if fold(words[index]) in asked:
            continue
        score = cosine(vector, vectors[b]) - cosine(vector, vectors[a]) + cosine(vector, vectors[c])
        if score > best_score:
            best, best_score = index, score
    return best
