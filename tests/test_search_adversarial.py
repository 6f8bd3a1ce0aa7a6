"""Exact search where it is hard: ids and score bits equal those of the definition, whatever the data, the instruction
set, the number of workers, and the number of queries in a call."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed
from reference import search as reference
from search_cases import KINDS, METRICS, assert_same, hard, normal, solved

SIZES = [(1, 1, 1), (2, 2, 3), (3, 15, 15), (5, 17, 16), (4, 63, 17), (7, 65, 33), (9, 129, 100), (17, 257, 64)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_topk_is_the_definition(kind: str, metric: str, every_isa: str) -> None:
    rng = np.random.default_rng(1)
    for size in SIZES:
        queries, index, scores, rows = solved(kind, metric, size)
        for k in {1, int(rng.integers(1, 12)), len(index)}:
            expected = scores[:, :k], rows[:, :k]
            for workers in (1, 2):
                assert_same(fastembed.topk(queries, index, k, metric=metric, workers=workers), expected)
            alone = [fastembed.topk(query, index, k, metric=metric) for query in queries]
            assert_same((np.stack([one.scores for one in alone]), np.stack([one.ids for one in alone])), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_index_is_the_definition(kind: str, metric: str, every_isa: str) -> None:
    for size in SIZES:
        queries, index, scores, rows = solved(kind, metric, size)
        assert_same(fastembed.Index(index, metric).search(queries, 10), (scores[:, :10], rows[:, :10]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_range_search_is_the_definition(kind: str, metric: str, every_isa: str) -> None:
    for size in SIZES[3:]:
        queries, index, scores, rows = solved(kind, metric, size)
        finite = scores[np.isfinite(scores)]
        if not finite.size:
            continue
        for threshold in np.quantile(finite, [0.0, 0.3, 0.9], method="nearest"):
            found = fastembed.range_search(queries, index, float(threshold), metric=metric)
            for query in range(len(queries)):
                within = scores[query] <= threshold if metric == "l2" else scores[query] >= threshold
                begin, end = found.offsets[query : query + 2]
                expected = scores[query][within], rows[query][within]
                assert_same((found.scores[begin:end], found.ids[begin:end]), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_paired_similarity_is_the_definition(kind: str, metric: str, every_isa: str) -> None:
    for size in SIZES:
        queries, index, scores, rows = solved(kind, metric, size)
        found = fastembed.paired_similarity(np.repeat(queries, len(index), axis=0), index[rows.reshape(-1)], metric)
        assert_same((found, rows), (scores.reshape(-1), rows))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["near ties", "duplicates", "heavy tails", "normal"])
def test_several_blocks_and_threads(kind: str, metric: str, every_isa: str) -> None:
    size = (33, 3001, 48)
    queries, index, scores, rows = solved(kind, metric, size)
    for k in (1, 10, 101, 3001):
        for workers in (1, 2):
            found = fastembed.topk(queries, index, k, metric=metric, workers=workers)
            assert_same(found, (scores[:, :k], rows[:, :k]))
    mask = np.random.default_rng(2).random(len(index)) < 0.02
    found = fastembed.topk(queries, index, 10, metric=metric, filter=mask)
    for query in range(len(queries)):
        admitted = mask[rows[query]]
        assert_same((found.scores[query], found.ids[query]), (scores[query, admitted][:10], rows[query, admitted][:10]))


shapes = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 20))


@settings(max_examples=60)
@given(shapes, st.sampled_from(KINDS), st.sampled_from(METRICS), st.integers(0, 2**32), st.data())
def test_permuted_rows_give_permuted_results(
    shape: tuple[int, int, int], kind: str, metric: str, seed: int, data: st.DataObject
) -> None:
    queries, index = hard(kind, *shape, seed=seed)
    permutation = np.asarray(data.draw(st.permutations(range(len(index)))))
    straight = fastembed.Index(index, metric).search(queries, 7)
    permuted = fastembed.Index(index[permutation], metric, ids=permutation).search(queries, 7)
    assert_same(permuted, straight)
    names = [f"{row:04d}" for row in range(len(index))]
    named = fastembed.Index(index[permutation], metric, ids=[names[row] for row in permutation]).search(queries, 7)
    assert named.ids.tolist() == [[names[row] for row in rows] for rows in straight.ids.tolist()]


@settings(max_examples=60)
@given(shapes, st.sampled_from(KINDS), st.sampled_from(METRICS), st.integers(0, 2**32), st.integers(0, 41))
def test_topk_is_a_prefix_of_more(shape: tuple[int, int, int], kind: str, metric: str, seed: int, k: int) -> None:
    queries, index = hard(kind, *shape, seed=seed)
    fewer, more = (fastembed.topk(queries, index, count, metric=metric) for count in (k, k + 1))
    assert_same(fewer, (more.scores[:, :k], more.ids[:, :k]))


@settings(max_examples=60)
@given(shapes, st.sampled_from(KINDS), st.sampled_from(METRICS), st.integers(0, 2**32), st.integers(1, 4))
def test_merged_shards_are_the_whole(
    shape: tuple[int, int, int], kind: str, metric: str, seed: int, shards: int
) -> None:
    queries, index = hard(kind, *shape, seed=seed)
    parts = []
    for rows in np.array_split(np.random.default_rng(seed).permutation(len(index)), shards):
        parts.append(fastembed.Index(index[rows], metric, ids=rows).search(queries, 5))
    whole = fastembed.topk(queries, index, 5, metric=metric)
    assert_same(fastembed.merge_topk(parts, min(5, len(index)), metric=metric), whole)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the number of a rounding mode is x86's")
def test_rounding_mode_of_the_caller_changes_nothing() -> None:
    mathematics = ctypes.CDLL(ctypes.util.find_library("m"))
    index, queries = normal(300, 40, seed=1), normal(20, 40, seed=2)
    calls = [(metric, workers) for metric in METRICS for workers in (1, 2)]

    def answers() -> list[fastembed.TopK]:
        return [fastembed.topk(queries, index, 7, metric=metric, workers=workers) for metric, workers in calls]

    expected = answers()
    upward = 0x800
    assert mathematics.fesetround(upward) == 0
    try:
        found = answers()
        assert mathematics.fegetround() == upward
    finally:
        mathematics.fesetround(0)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["near ties", "duplicates", "all scales", "zero rows"])
def test_many_batches(kind: str, metric: str) -> None:
    """With one worker one batch after the other, with two side by side."""
    queries, index = hard(kind, 4200, 12, 5, seed=9)
    scores, rows = reference.topk(queries, index, 12, metric)
    for k, workers in ((3, 1), (3, 2), (12, 2)):
        found = fastembed.topk(queries, index, k, metric=metric, workers=workers)
        assert_same(found, (scores[:, :k], rows[:, :k]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_threshold_that_is_a_score(kind: str, metric: str) -> None:
    queries, index, scores, rows = solved(kind, metric, (17, 257, 64))
    for threshold in np.unique(scores[:, [0, 3, 100]][np.isfinite(scores[:, [0, 3, 100]])])[::7]:
        within = scores <= threshold if metric == "l2" else scores >= threshold
        found = fastembed.topk(queries, index, 30, metric=metric, threshold=float(threshold))
        missing = np.float32(np.inf if metric == "l2" else -np.inf)
        assert_same(found, (np.where(within, scores, missing)[:, :30], np.where(within, rows, -1)[:, :30]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_blocks(kind: str, metric: str) -> None:
    queries, index = hard(kind, 37, 4001, 21, seed=8)
    expected = reference.topk(queries, index, 100, metric)
    for k, workers in ((1, 2), (10, 1), (100, 2), (100, 3)):
        found = fastembed.topk(queries, index, k, metric=metric, workers=workers)
        assert_same(found, (expected[0][:, :k], expected[1][:, :k]))
    norms = fastembed.Index(index, metric)
    assert_same(norms.search(queries, 100, workers=2), expected)
