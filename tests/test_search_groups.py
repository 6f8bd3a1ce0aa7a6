"""Batches so large that every worker has queries of its own, and takes others' when it has done with them."""

from __future__ import annotations

import numpy as np
import pytest

import fastembed
from fastembed import Index, _core
from reference import search as reference
from search_cases import CODE_KINDS, METRICS, assert_same, hard
from tiers import SEARCH_ISAS

#: 13 panels: 6 and 7 for two workers, 4, 4 and 5 for three, and none of their own for four.
N_QUERIES, N_ROWS, DIM = 401, 2500, 40


def alone(index: Index, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """A few queries at a time by one worker."""
    found = [index.search(queries[first : first + 50], k, workers=1) for first in range(0, len(queries), 50)]
    return np.concatenate([part.scores for part in found]), np.concatenate([part.ids for part in found])


@pytest.mark.parametrize("accelerate", ["int8", "bf16", "none"])
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_workers_with_queries_of_their_own(kind: str, accelerate: str) -> None:
    queries, rows = hard(kind, N_QUERIES, N_ROWS, DIM)
    metric = METRICS[CODE_KINDS.index(kind) % 3]
    index = Index(rows, metric, accelerate=accelerate)
    expected = alone(index, queries, 12)
    assert_same((expected[0][:4], expected[1][:4]), reference.topk(queries[:4], rows, 12, metric))
    before = fastembed.isa.active()
    try:
        for isa in SEARCH_ISAS:
            _core.select_isa(isa)
            for workers in (2, 3, 4):
                assert_same(index.search(queries, 12, workers=workers), expected)
    finally:
        _core.select_isa(before)


@pytest.mark.parametrize("k", [1, 100, 2000])
def test_many_and_few_of_the_best(k: int) -> None:
    queries, rows = hard("clusters, 1e-4", N_QUERIES, N_ROWS, DIM)
    index = Index(rows)
    expected = alone(index, queries, k)
    for workers in (2, 3):
        assert_same(index.search(queries, k, workers=workers), expected)


@pytest.mark.parametrize("kind", ["normal", "duplicates", "sorted", "heavy tails"])
def test_thresholds_that_begin_with_a_sample(kind: str) -> None:
    queries, rows = hard(kind, N_QUERIES, 30_000, DIM)
    index = Index(rows, "dot")
    for k in (1, 10):
        expected = alone(index, queries, k)
        assert_same((expected[0][:2], expected[1][:2]), reference.topk(queries[:2], rows, k, "dot"))
        for workers in (2, 3):
            assert_same(index.search(queries, k, workers=workers), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_and_queries_that_only_the_definition_can_judge_are_met_once(metric: str) -> None:
    queries, rows = hard("normal", N_QUERIES, N_ROWS, DIM)
    rows[[3, 700, 2400]] *= np.float32(1e37)
    queries[[0, 130, 400]] *= np.float32(1e30)
    index = Index(rows, metric, accelerate="none")
    expected = alone(index, queries, 9)
    for workers in (2, 3):
        found = index.search(queries, 9, workers=workers)
        assert all(len(set(ids)) == 9 for ids in found.ids.tolist())
        assert_same(found, expected)


@pytest.mark.parametrize("filtered", ["mask", "few", "per query", "threshold"])
def test_filters(filtered: str) -> None:
    queries, rows = hard("duplicates", N_QUERIES, N_ROWS, DIM)
    rng = np.random.default_rng(5)
    index = Index(rows, "dot")
    options: dict[str, object] = {
        "mask": {"filter": rng.random(N_ROWS) < 0.7},
        "few": {"filter": rng.random(N_ROWS) < 0.05},
        "per query": {"filter": rng.random((N_QUERIES, N_ROWS)) < 0.5},
        "threshold": {"threshold": 6.0},
    }[filtered]
    expected = index.search(queries, 7, workers=1, **options)
    for workers in (2, 3):
        assert_same(index.search(queries, 7, workers=workers, **options), expected)
