"""Searches of random sizes, data, options and instruction sets find what the definition says, to the last bit.

FASTEMBED_RANDOM_CASES says how many cases each instruction set meets; FASTEMBED_RANDOM_SEED where they begin.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import fastembed
from fastembed import Index, _core
from reference import search as reference
from search_cases import HARD_TO_CODE, METRICS, assert_same, medium_topk

CASES = int(os.environ.get("FASTEMBED_RANDOM_CASES", "6" if _core.sanitizers else "60"))
SEED = int(os.environ.get("FASTEMBED_RANDOM_SEED", "0"))


def random_rows(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Rows of one kind, brought to any size and place, some of them copies, zeros or far longer than the others."""
    with np.errstate(over="ignore", under="ignore"):
        rows = HARD_TO_CODE[rng.choice(sorted(HARD_TO_CODE))](rng, n_rows, dim)
        if rng.random() < 0.5:
            greatest = float(np.abs(rows).max()) or 1.0
            rows = (rows / np.float32(greatest)).astype(np.float32) * np.float32(10.0 ** rng.uniform(-30, 17))
        if rng.random() < 0.3:
            size = float(np.abs(rows).max()) * 10.0 ** rng.uniform(-3, 3)
            rows = rows + (rng.standard_normal(dim) * min(size, 1e18)).astype(np.float32)
        if rng.random() < 0.3:
            few = rng.integers(0, n_rows, rng.integers(1, 6))
            longest = float(np.abs(rows).max()) or 1.0
            rows[few] *= np.float32(min(10.0 ** rng.uniform(0, 22), 1e30 / longest))
        if rng.random() < 0.2:
            rows[rng.integers(0, n_rows, n_rows // 4)] = rows[rng.integers(0, n_rows)]
        if rng.random() < 0.2:
            rows[rng.integers(0, n_rows, n_rows // 8)] = 0
    return np.ascontiguousarray(np.clip(np.nan_to_num(rows), -1e37, 1e37), dtype=np.float32)


def random_queries(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Rows of the index, moved a little, and others."""
    queries = rows[rng.integers(0, len(rows), count)].astype(np.float64)
    size = np.linalg.norm(queries, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    queries += rng.standard_normal(queries.shape) * size * 10.0 ** rng.uniform(-8, 1, (count, 1))
    queries[rng.random(count) < 0.05] = 0
    return np.clip(queries, -1e37, 1e37).astype(np.float32)


def check(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.choice([rng.integers(1, 33), rng.integers(33, 200), 2 ** rng.integers(0, 9)]))
    n_rows = int(
        rng.choice([rng.integers(1, 300), rng.integers(300, 3000), rng.integers(8300, 9000)], p=[0.4, 0.55, 0.05])
    )
    count = int(rng.choice([1, 2, rng.integers(3, 17), rng.integers(17, 40)]))
    metric = str(rng.choice(METRICS))
    rows = random_rows(rng, n_rows, dim)
    queries = random_queries(rng, rows, count)
    mask = rng.random(n_rows) < rng.random() if rng.random() < 0.2 else None
    k = min(n_rows, int(rng.choice([1, rng.integers(1, 20), rng.integers(1, n_rows + 1)])))
    workers = int(rng.integers(1, 3))
    mode = str(rng.choice(["int8", "int8", "int8", "bf16", "none"]))
    index = Index(rows, metric, accelerate=mode)
    scores, ids = reference.topk(queries, rows, k, metric, mask=mask)
    found = index.search(queries, k, filter=mask, workers=workers)
    assert_same(found, (scores, ids))
    if mode == "int8" and dim > 64 and n_rows >= 8 and 2 < count <= 32:
        assert_same(medium_topk(index, queries, k, mask=mask, workers=workers)[:2], (scores, ids))
    if mask is None and rng.random() < 0.3:
        assert_same(fastembed.topk(queries, rows, k, metric=metric, workers=workers), (scores, ids))
    threshold = float(scores[0, -1]) if ids[0, -1] >= 0 else 0.0
    if mask is None and np.isfinite(threshold):
        offsets, hit_scores, hit_ids = index.range_search(queries[:1], threshold)
        wanted_scores, wanted_ids = reference.topk(queries[:1], rows, n_rows, metric, threshold=threshold)
        assert offsets[-1] == (wanted_ids[0] >= 0).sum()
        assert_same((hit_scores, hit_ids), (wanted_scores[0, : offsets[-1]], wanted_ids[0, : offsets[-1]]))


@pytest.mark.parametrize("chunk", range(6))
def test_random_searches_find_what_the_definition_says(chunk: int, every_isa: str) -> None:
    first = SEED + sum(map(ord, every_isa)) * 1_000_000
    for case in range(chunk, CASES, 6):
        try:
            check(first + case)
        except AssertionError as error:
            raise AssertionError(f"case {first + case} with {every_isa}") from error
