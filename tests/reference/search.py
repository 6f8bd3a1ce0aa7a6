"""Exact scores and exact search, written to be obviously right: every score by its definition, then a sort.

The definition, for float32 rows q and x. A sum of terms t[0], t[1], ... is taken in float64 over 16 lanes: lane j adds
up t[j], t[j + 16], t[j + 32], ... in this order, beginning with zero; then lanes j and j + 8 are added, then j and
j + 4, j and j + 2, j and j + 1.

    dot     the sum of q[i] * x[i]; each product is exact in float64, which has 53 bits for the 48 of the product
    cosine  dot / (|q| * |x|) with |v| the square root of the sum of v[i] * v[i]; 0 if one of the norms is 0
    l2      the sum of (q[i] - x[i]) ** 2, difference and square each rounded to float64

and the result is rounded once, to float32. Rows are ordered by score, greatest first (l2: least first), NaN last, and
equal ones by their key ascending.
"""

from __future__ import annotations

import math

import numpy as np


def lane_sum(terms: np.ndarray) -> np.ndarray:
    """The sums over the last axis of float64 terms."""
    lanes = np.zeros((*terms.shape[:-1], 16))
    for begin in range(0, terms.shape[-1], 16):
        part = terms[..., begin : begin + 16]
        lanes[..., : part.shape[-1]] += part
    for width in (8, 4, 2, 1):
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
    return lanes[..., 0]


def norms(x: np.ndarray) -> np.ndarray:
    """The float64 norms of the rows."""
    wide = x.astype(np.float64)
    return np.sqrt(lane_sum(wide * wide))


def scores(queries: np.ndarray, index: np.ndarray, metric: str) -> np.ndarray:
    """The float32 scores of every query with every row."""
    index_wide, index_norms = index.astype(np.float64), norms(index)
    table = np.empty((len(queries), len(index)), dtype=np.float32)
    with np.errstate(all="ignore"):
        for row, query in enumerate(queries.astype(np.float64)):
            if metric == "l2":
                difference = query - index_wide
                table[row] = lane_sum(difference * difference)
                continue
            dots = lane_sum(query * index_wide)
            if metric == "cosine":
                query_norm = norms(queries[row : row + 1])[0]
                either_zero = (index_norms == 0) | (query_norm == 0)
                dots = np.where(either_zero, 0.0, dots / np.where(either_zero, 1.0, query_norm * index_norms))
            table[row] = dots
    return table


def ranked(row_scores: np.ndarray, metric: str, order: np.ndarray | None = None) -> list[int]:
    """The rows, best first."""

    def key(row: int) -> tuple[bool, float, int]:
        score = float(row_scores[row])
        worse = score if metric == "l2" else -score
        return math.isnan(score), 0.0 if math.isnan(score) else worse, row if order is None else int(order[row])

    return sorted(range(len(row_scores)), key=key)


def admits(score: float, metric: str, threshold: float | None) -> bool:
    """Whether the threshold lets this score pass."""
    if threshold is None:
        return True
    return bool(score <= threshold if metric == "l2" else score >= threshold)


def allowed(mask: np.ndarray | None, query: int, row: int) -> bool:
    """Whether the mask, shared or of each query, lets this row pass."""
    if mask is None:
        return True
    return bool(mask[row] if mask.ndim == 1 else mask[query, row])


def hits(
    queries: np.ndarray,
    index: np.ndarray,
    metric: str,
    *,
    mask: np.ndarray | None = None,
    order: np.ndarray | None = None,
    threshold: float | None = None,
    self_first: int = -1,
) -> list[list[tuple[np.float32, int]]]:
    """For each query the score and the row of everything that may be found, best first."""
    table = scores(queries, index, metric)
    return [
        [
            (table[query, row], row)
            for row in ranked(table[query], metric, order)
            if allowed(mask, query, row)
            and admits(table[query, row], metric, threshold)
            and not (self_first >= 0 and row == self_first + query)
        ]
        for query in range(len(queries))
    ]


def topk(
    queries: np.ndarray, index: np.ndarray, k: int, metric: str, **options: object
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the best k, -1 and the worst score where there are fewer."""
    found_scores = np.full((len(queries), k), np.inf if metric == "l2" else -np.inf, dtype=np.float32)
    found_rows = np.full((len(queries), k), -1, dtype=np.int64)
    for query, found in enumerate(hits(queries, index, metric, **options)):  # type: ignore[arg-type]
        for place, (score, row) in enumerate(found[:k]):
            found_scores[query, place], found_rows[query, place] = score, row
    return found_scores, found_rows


def normalized(x: np.ndarray) -> np.ndarray:
    """The rows over their float64 norms, rounded once; zero rows stay."""
    lengths = norms(x)[:, None]
    with np.errstate(all="ignore"):
        return np.where(lengths == 0, x, x.astype(np.float64) / np.where(lengths == 0, 1.0, lengths)).astype(np.float32)


def deduplicated(x: np.ndarray, threshold: float, metric: str) -> tuple[list[int], list[int]]:
    """The kept rows, and for every row the kept one that stands for it."""
    table = scores(x, x, metric)
    kept: list[int] = []
    representatives = []
    for row in range(len(x)):
        near = [other for other in kept if admits(table[row, other], metric, threshold)]
        if near:
            representatives.append(min(near, key=lambda other: ranked(table[row], metric).index(other)))
        else:
            kept.append(row)
            representatives.append(row)
    return kept, representatives


def communities(x: np.ndarray, threshold: float, min_size: int, metric: str) -> list[list[int]]:
    """What sentence_transformers.util.community_detection finds, with ties between scores and sizes broken by row."""
    table = scores(x, x, metric)
    neighbourhoods = []
    for center in range(len(x)):
        near = [row for row in ranked(table[center], metric) if admits(table[center, row], metric, threshold)]
        if len(near) >= min(min_size, len(x)):
            neighbourhoods.append([row for row in near if row == center] + [row for row in near if row != center])
    taken: set[int] = set()
    found = []
    for members in sorted(neighbourhoods, key=len, reverse=True):
        free = [row for row in members if row not in taken]
        if len(free) >= min(min_size, len(x)):
            found.append(free)
            taken.update(free)
    return sorted(found, key=len, reverse=True)
