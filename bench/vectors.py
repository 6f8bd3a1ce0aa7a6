"""Vectors to search, seeded, and the definition's answer for some of the queries: used by bench_topk and
bench_similarity. Nothing here calls fastembed.

"realistic" has what embeddings of text have and Gaussian vectors have not: a spectrum that decays, clusters of Zipf's
sizes, a mean that all share, and a few dimensions of great variance. "clusters" is four
clusters alone, their spread 0.3 of that of their centers: codes of 8 bits do not tell their rows apart, bfloat16 does.
"""

from __future__ import annotations

import numpy as np

BLOCK_ROWS = 1 << 15
CLUSTERS = 2_000
LANES = 16
FEW_CLUSTERS, SPREAD = 4, np.float32(0.3)


def _normalise(rows: np.ndarray) -> None:
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float32))[:, None]


def make_vectors(kind: str, rows: int, dim: int, normalised: bool = True, seed: int = 1) -> np.ndarray:
    """Float32 rows, "gaussian", "realistic" or "clusters"; another seed gives other rows of the same distribution."""
    shape_rng = np.random.default_rng(0)
    spectrum = (np.arange(1, dim + 1) ** -0.4).astype(np.float32)
    shape_rng.shuffle(spectrum)
    centres = shape_rng.standard_normal((CLUSTERS, dim), dtype=np.float32) * spectrum
    mean = 0.7 * shape_rng.standard_normal(dim, dtype=np.float32) * spectrum
    scale = 0.8 * spectrum
    scale[shape_rng.choice(dim, 3, replace=False)] *= 6
    weights = 1 / np.arange(1, CLUSTERS + 1)
    weights /= weights.sum()
    few = shape_rng.standard_normal((FEW_CLUSTERS, dim), dtype=np.float32)

    rng = np.random.default_rng(seed)
    vectors = np.empty((rows, dim), dtype=np.float32)
    for start in range(0, rows, BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS]
        rng.standard_normal(out=block, dtype=np.float32)
        if kind == "realistic":
            block *= scale
            block += centres[rng.choice(CLUSTERS, len(block), p=weights)]
            block += mean
        if kind == "clusters":
            block *= SPREAD
            block += few[rng.integers(0, FEW_CLUSTERS, len(block))]
        if normalised:
            _normalise(block)
    return vectors


def _lane_sum(terms: np.ndarray) -> np.ndarray:
    """Sum of the last axis in 16 lanes, each in ascending order, the lanes then added pairwise."""
    lanes = np.zeros((*terms.shape[:-1], LANES))
    for start in range(0, terms.shape[-1], LANES):
        part = terms[..., start : start + LANES]
        lanes[..., : part.shape[-1]] += part
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
    return lanes[..., 0]


def defined_scores(query: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """Float32 scores of one query by the definition, to the last bit."""
    q, x = query.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return _lane_sum((q - x) ** 2).astype(np.float32)
    scores = _lane_sum(q * x)
    if metric == "cosine":
        norms = np.sqrt(_lane_sum(x * x)) * np.sqrt(_lane_sum(q * q))
        scores = np.divide(scores, norms, out=np.zeros_like(scores), where=norms > 0)
    return scores.astype(np.float32)


def defined_topk(queries: np.ndarray, index: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the true top k: float64 products in any order choose candidates with a wide margin, which the
    definition then ranks."""
    sign = -1.0 if metric == "l2" else 1.0
    q = queries.astype(np.float64)
    rough = np.empty((len(q), len(index)))
    for start in range(0, len(index), BLOCK_ROWS):
        x = index[start : start + BLOCK_ROWS].astype(np.float64)
        part = q @ x.T
        squares = np.einsum("ij,ij->i", x, x)
        if metric == "cosine":
            part /= np.maximum(np.sqrt(squares), 1e-300) * np.sqrt(np.einsum("ij,ij->i", q, q))[:, None]
        elif metric == "l2":
            part = squares - 2 * part + np.einsum("ij,ij->i", q, q)[:, None]
        rough[:, start : start + len(x)] = sign * part
    scores, rows = [], []
    for query, line in zip(queries, rough, strict=True):
        least = np.partition(line, len(line) - k)[len(line) - k]
        candidates = np.flatnonzero(line >= least - 1e-5 * max(1.0, abs(least)))
        exact = defined_scores(query, index[candidates], metric)
        order = np.lexsort((candidates, -sign * exact))[:k]
        scores.append(exact[order])
        rows.append(candidates[order])
    return np.stack(scores), np.stack(rows)
