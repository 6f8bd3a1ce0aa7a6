"""`topk`, `range_search`, `self_topk`, `merge_topk`: meaning of arguments, edges, errors."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import fastembed
from reference import search as reference
from search_cases import METRICS, assert_same, normal

QUERIES, INDEX = normal(5, 12, seed=1), normal(40, 12, seed=2)


def expected(k: int, metric: str = "cosine", **options: Any) -> tuple[np.ndarray, np.ndarray]:
    return reference.topk(QUERIES, INDEX, k, metric, **options)


# What comes back


def test_result_is_a_named_tuple() -> None:
    found = fastembed.topk(QUERIES, INDEX, 3)
    assert isinstance(found, fastembed.TopK)
    scores, ids = found
    assert scores is found.scores and ids is found.ids
    assert (scores.dtype, ids.dtype, scores.shape, ids.shape) == (np.float32, np.int64, (5, 3), (5, 3))
    assert scores.flags.c_contiguous and ids.flags.writeable


def test_defaults_are_cosine_and_ten() -> None:
    assert_same(fastembed.topk(QUERIES, INDEX), expected(10, "cosine"))
    assert_same(fastembed.topk(QUERIES, INDEX, metric="cosine"), expected(10, "cosine"))


@pytest.mark.parametrize("metric", METRICS)
def test_metrics(metric: str) -> None:
    assert_same(fastembed.topk(QUERIES, INDEX, 7, metric=metric), expected(7, metric))
    assert_same(fastembed.topk(QUERIES, fastembed.Index(INDEX, metric), 7), expected(7, metric))


def test_one_query_gives_one_axis() -> None:
    for index in (INDEX, fastembed.Index(INDEX)):
        found = fastembed.topk(QUERIES[2], index, 4)
        assert found.scores.shape == found.ids.shape == (4,)
        assert_same(found, tuple(part[2] for part in expected(4)))  # type: ignore[arg-type]
        hits = fastembed.range_search(QUERIES[2], index, 0.1)
        assert hits.offsets.tolist() == [0, len(hits.ids)]


def test_word_vectors() -> None:
    words = fastembed.WordVectors(INDEX, [f"w{row:02d}" for row in range(40)])
    assert_same(fastembed.topk(QUERIES, words, 4), expected(4))
    assert fastembed.topk(words, words, 1).ids.tolist() == [[row] for row in range(40)]


# Edges


@pytest.mark.parametrize("index", [INDEX, fastembed.Index(INDEX)])
def test_k(index: Any) -> None:
    assert_same(fastembed.topk(QUERIES, index, 1000), expected(40))
    assert_same(fastembed.topk(QUERIES, index, np.int64(3)), expected(3))
    for queries, shape in ((QUERIES, (5, 0)), (QUERIES[0], (0,))):
        found = fastembed.topk(queries, index, 0)
        assert found.scores.shape == found.ids.shape == shape
    for k, error in ((-1, ValueError), (1.5, TypeError), ("3", TypeError), (None, TypeError), (True, TypeError)):
        with pytest.raises(error, match="k must be"):
            fastembed.topk(QUERIES, index, k)


@pytest.mark.parametrize("make", [lambda x: x, fastembed.Index])
def test_nothing_to_search(make: Any) -> None:
    empty = np.empty((0, 12), dtype=np.float32)
    found = fastembed.topk(QUERIES, make(empty))
    assert found.scores.shape == found.ids.shape == (5, 0)
    found = fastembed.topk(empty, make(INDEX))
    assert found.scores.shape == found.ids.shape == (0, 10)
    assert fastembed.topk(QUERIES[0], make(empty)).ids.shape == (0,)
    assert fastembed.range_search(QUERIES, make(empty), 0.5).offsets.tolist() == [0] * 6
    assert fastembed.range_search(empty, make(INDEX), 0.5).offsets.tolist() == [0]
    assert fastembed.self_topk(make(empty)).ids.shape == (0, 0)
    assert fastembed.self_topk(make(INDEX[:1])).ids.shape == (1, 0)
    assert fastembed.deduplicate(make(empty), 0.5).kept.shape == (0,)
    assert fastembed.communities(make(empty), 0.5) == []


def test_zero_vectors_score_zero() -> None:
    index = np.asarray([[1, 0], [0, 0], [-1, 0]], dtype=np.float32)
    found = fastembed.topk([[1, 0], [0, 0]], index, 3)
    assert found.scores.tolist() == [[1, 0, -1], [0, 0, 0]]
    assert found.ids.tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("make", [lambda x: x, fastembed.Index])
@pytest.mark.parametrize(("metric", "worst"), [("cosine", -np.inf), ("dot", -np.inf), ("l2", np.inf)])
def test_fewer_admitted_than_wanted(metric: str, worst: float, make: Any) -> None:
    index = make(INDEX) if make is not fastembed.Index else fastembed.Index(INDEX, metric)
    found = fastembed.topk(QUERIES, index, 4, metric=metric, filter=[7, 3])
    assert (found.ids[:, 2:] == -1).all() and (found.scores[:, 2:] == worst).all()
    assert (np.sort(found.ids[:, :2], axis=1) == [3, 7]).all()
    assert (fastembed.topk(QUERIES, index, 4, filter=[], metric=metric).ids == -1).all()


# Filters


@pytest.mark.parametrize("make", [lambda x: x, fastembed.Index])
def test_masks(make: Any) -> None:
    rng = np.random.default_rng(4)
    shared, each = rng.random(40) < 0.4, rng.random((5, 40)) < 0.4
    index = make(INDEX)
    assert_same(fastembed.topk(QUERIES, index, 6, filter=shared), expected(6, mask=shared))
    assert_same(fastembed.topk(QUERIES, index, 6, filter=shared.tolist()), expected(6, mask=shared))
    assert_same(fastembed.topk(QUERIES, index, 6, filter=np.repeat(shared, 2)[::2]), expected(6, mask=shared))
    assert_same(fastembed.topk(QUERIES, index, 6, filter=each), expected(6, mask=each))
    assert_same(fastembed.topk(QUERIES, index, 6, filter=np.asfortranarray(each)), expected(6, mask=each))
    assert_same(fastembed.topk(QUERIES, index, 6, filter=np.flatnonzero(shared)), expected(6, mask=shared))
    assert_same(fastembed.topk(QUERIES[1], index, 6, filter=each[1]), [part[1] for part in expected(6, mask=each)])
    hits = fastembed.range_search(QUERIES, index, 0.1, filter=np.asfortranarray(each))
    wanted = reference.hits(QUERIES, INDEX, "cosine", mask=each, threshold=float(np.float32(0.1)))
    assert hits.ids.tolist() == [row for found in wanted for _, row in found]
    assert np.diff(hits.offsets).tolist() == [len(found) for found in wanted]


def test_masks_of_each_query_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastembed._engine, "_MASK_BLOCK_BYTES", 80)  # two queries at a time
    each = np.asfortranarray(np.random.default_rng(5).random((5, 40)) < 0.4)
    assert_same(fastembed.topk(QUERIES, INDEX, 6, filter=each), expected(6, mask=each))
    hits = fastembed.range_search(QUERIES, INDEX, -2, filter=each)
    assert hits.offsets.tolist() == [0, *np.cumsum(each.sum(axis=1))]
    bad = QUERIES.copy()
    bad[4, 0] = np.nan
    for call in (
        lambda: fastembed.topk(bad, INDEX, filter=each),
        lambda: fastembed.range_search(bad, INDEX, 0, filter=each),
    ):
        with pytest.raises(ValueError, match="queries holds NaN or infinity in row 4"):
            call()


def test_filters_that_do_not_fit() -> None:
    for mask in (np.ones(39, bool), np.ones((4, 40), bool), np.ones((5, 40, 1), bool), np.bool_(True)):
        with pytest.raises(ValueError, match=r"filter must have shape \(40,\) or \(5, 40\), got shape"):
            fastembed.topk(QUERIES, INDEX, filter=mask)
    for row in (-1, 40):
        with pytest.raises(ValueError, match=f"filter names row {row} but index has 40 rows"):
            fastembed.topk(QUERIES, INDEX, filter=[3, row])
    with pytest.raises(TypeError, match="filter must be a bool mask or an array of row numbers, got dtype float64"):
        fastembed.topk(QUERIES, INDEX, filter=np.ones(40))
    for nothing in ("x", 5, iter([1, 2]), {1: True}, slice(3)):
        with pytest.raises(
            TypeError, match=f"filter must be a mask of bool, or the ids.* got {type(nothing).__name__}"
        ):
            fastembed.topk(QUERIES, INDEX, filter=nothing)
    with pytest.raises(ValueError, match="a filter of ids must have one dimension, got 2-D"):
        fastembed.topk(QUERIES, INDEX, filter=[[1, 2]])
    for index in (INDEX, fastembed.Index(INDEX)):
        with pytest.raises(ValueError, match=r"filter cannot be read as an array: .* inhomogeneous shape"):
            fastembed.topk(QUERIES, index, filter=[[True], [True, False]])
        for mixed in ([True, 0], [0, np.True_], {3, False}, ("a", True)):
            with pytest.raises(TypeError, match=r"filter must hold bools alone or none, got bool_? and (int|str)"):
                fastembed.topk(QUERIES, index, filter=mixed)
    with pytest.raises(TypeError, match="filter must be a bool mask or an array of row numbers, got dtype object"):
        fastembed.topk(QUERIES, INDEX, filter=["a"])


@pytest.mark.parametrize("given", [np.ma.array([1, 2, 3], mask=[0, 1, 1]), np.ma.array(np.ones(40, dtype=bool))])
@pytest.mark.parametrize("make", [lambda x: x, fastembed.Index])
def test_masked_arrays_are_no_filters(given: Any, make: Any) -> None:
    with pytest.raises(TypeError, match="filter is a masked array, which has no values where it is masked"):
        fastembed.topk(QUERIES, make(INDEX), filter=given)


# Thresholds


@pytest.mark.parametrize("metric", METRICS)
def test_threshold_is_what_numpy_compares(metric: str) -> None:
    everything = fastembed.topk(QUERIES, INDEX, 40, metric=metric)
    for threshold in (float(everything.scores[0, 5]), 0.1, float(everything.scores[3, 20])):
        within = everything.scores <= threshold if metric == "l2" else everything.scores >= threshold
        found = fastembed.topk(QUERIES, INDEX, 12, metric=metric, threshold=threshold)
        np.testing.assert_array_equal(found.ids, np.where(within, everything.ids, -1)[:, :12])
        hits = fastembed.range_search(QUERIES, INDEX, threshold, metric=metric)
        np.testing.assert_array_equal(hits.ids, everything.ids[within])
        np.testing.assert_array_equal(hits.scores, everything.scores[within])
        np.testing.assert_array_equal(np.diff(hits.offsets), within.sum(axis=1))
    assert fastembed.range_search(QUERIES, INDEX, 1e300, metric="dot").ids.size == 0


def test_thresholds_that_are_none() -> None:
    for threshold, error in (
        (np.nan, ValueError),
        (10**400, ValueError),
        ("0.5", TypeError),
        (True, TypeError),
        (np.True_, TypeError),
    ):
        with pytest.raises(error, match="threshold must be"):
            fastembed.topk(QUERIES, INDEX, threshold=threshold)
    with pytest.raises(TypeError, match="threshold must be"):
        fastembed.range_search(QUERIES, INDEX, None)


@pytest.mark.parametrize("workers", [1, 3])
def test_more_hits_than_are_held_at_a_time(workers: int) -> None:
    """Some queries match everything, in runs, others nearly nothing: batches shrink and grow."""
    rng = np.random.default_rng(7)
    index = np.abs(rng.standard_normal((6000, 3))).astype(np.float32)
    queries = np.where(np.arange(600)[:, None] // 150 % 2, -1, 1) * np.abs(rng.standard_normal((600, 3)))
    found = fastembed.range_search(queries, index, 0.0, workers=workers)
    everything = fastembed.topk(queries, index, 6000)
    within = everything.scores >= 0
    np.testing.assert_array_equal(np.diff(found.offsets), within.sum(axis=1))
    np.testing.assert_array_equal(found.ids, everything.ids[within])
    np.testing.assert_array_equal(found.scores, everything.scores[within])


# What is not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("workers", [1, 2])
def test_bad_rows_are_named(bad: float, workers: int) -> None:
    queries, index = QUERIES.copy(), INDEX.copy()
    queries[3, 11] = bad
    index[17, 0] = bad
    for search in (fastembed.topk, lambda *args, **options: fastembed.range_search(*args, 0.5, **options)):
        with pytest.raises(ValueError, match="queries holds NaN or infinity in row 3; check_finite=False"):
            search(queries, INDEX, workers=workers)
        with pytest.raises(ValueError, match="index holds NaN or infinity in row 17"):
            search(QUERIES, index, workers=workers)
        search(QUERIES, index, filter=np.arange(40) != 17, workers=workers)
        with pytest.raises(ValueError, match="queries holds NaN or infinity in row 3"):
            search(queries, fastembed.Index(INDEX), workers=workers)
    for call in (fastembed.self_topk, lambda x: fastembed.deduplicate(x, 0.5), fastembed.communities, fastembed.Index):
        with pytest.raises(ValueError, match="vectors holds NaN or infinity in row 17"):
            call(index)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("layout", ["C", "F"])
def test_bad_rows_that_no_query_may_find_are_not_looked_at(metric: str, layout: Any) -> None:
    index = INDEX.copy()
    index[[3, 17, 30], 5] = np.nan, np.inf, np.nan
    each = np.asarray(np.random.default_rng(4).random((5, 40)) < 0.6, order=layout)
    for search in (fastembed.topk, lambda *args, **o: fastembed.range_search(*args, 0.5, **o)):
        each[:, [3, 17, 30]] = False
        finite = np.where(np.isfinite(index), index, 0)
        wanted = search(QUERIES, finite, filter=each, metric=metric)
        for found, expected in zip(search(QUERIES, index, filter=each, metric=metric), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)
        each[4, [17, 30]] = True
        with pytest.raises(ValueError, match="index holds NaN or infinity in row 17"):
            search(QUERIES, index, filter=each, metric=metric)
        with pytest.raises(ValueError, match="index holds NaN or infinity in row 17"):
            search(QUERIES[4], index, filter=each[4], metric=metric)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_bad_row_that_any_query_of_many_batches_may_find_is_named(workers: int) -> None:
    rng = np.random.default_rng(5)
    queries, index = (rng.standard_normal((count, 16), dtype=np.float32) for count in (1200, 5000))
    index[[7, 900, 4990], 3] = np.nan
    each = rng.random((1200, 5000)) < 0.01
    each[:, [7, 900, 4990]] = False
    finite = np.where(np.isfinite(index), index, 0)
    for search in (fastembed.topk, lambda *args, **o: fastembed.range_search(*args, 0.7, **o)):
        found = search(queries, index, filter=each, workers=workers)
        for part, expected in zip(found, search(queries, finite, filter=each, workers=workers), strict=True):
            np.testing.assert_array_equal(part, expected)
        mixed = each.copy()
        mixed[1199, 900] = mixed[0, 4990] = True
        with pytest.raises(ValueError, match="index holds NaN or infinity in row 900;"):
            search(queries, index, filter=mixed, workers=workers)


def test_bad_queries_are_refused_where_nothing_can_be_found() -> None:
    bad = QUERIES.copy()
    bad[3, 0] = np.inf
    empty = np.empty((0, 12), dtype=np.float32)
    for index in (empty, fastembed.Index(empty)):
        fastembed.topk(bad, index, check_finite=False)
        for call in (fastembed.topk, lambda *args: fastembed.range_search(*args, 0.5)):
            with pytest.raises(ValueError, match="queries holds NaN or infinity in row 3"):
                call(bad, index)
    with pytest.raises(ValueError, match="queries holds NaN or infinity in row 3"):
        fastembed.topk(bad, INDEX, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_unchecked_numbers_rank_last(metric: str) -> None:
    queries, index = QUERIES.copy(), INDEX.copy()
    index[3, 2], index[9, 4], queries[4, 0] = np.nan, np.nan, np.nan
    found = fastembed.topk(queries, index, 40, metric=metric, check_finite=False)
    assert_same(found, reference.topk(queries, index, 40, metric))
    assert found.ids[0, -2:].tolist() == [3, 9] and np.isnan(found.scores[0, -2:]).all()
    assert found.ids[4].tolist() == list(range(40))
    hits = fastembed.range_search(queries, index, 0.0, metric=metric, check_finite=False)
    assert not np.isin([3, 9], hits.ids).any() and hits.offsets[4] == hits.offsets[5]


# What is refused


def test_dimensions_that_differ() -> None:
    for index in (normal(40, 128), fastembed.Index(normal(40, 128))):
        with pytest.raises(ValueError, match="queries has dim 100 but index has dim 128"):
            fastembed.topk(normal(2, 100), index)
        with pytest.raises(ValueError, match="queries has dim 100 but index has dim 128"):
            fastembed.range_search(normal(2, 100), index, 0.5)


def test_metric_of_an_index() -> None:
    index = fastembed.Index(INDEX, "l2")
    assert_same(fastembed.topk(QUERIES, index, 3, metric="l2"), expected(3, "l2"))
    for call in (fastembed.topk, lambda q, x, **o: fastembed.range_search(q, x, 0.5, **o)):
        with pytest.raises(ValueError, match="metric is 'dot' but the index was made for 'l2'"):
            call(QUERIES, index, metric="dot")
    with pytest.raises(ValueError, match="metric is 'cosine' but the index was made for 'l2'"):
        fastembed.self_topk(index, metric="cosine")
    with pytest.raises(ValueError, match="metric must be 'cosine', 'dot' or 'l2', got 'angular'"):
        fastembed.topk(QUERIES, INDEX, metric="angular")


def test_other_arguments() -> None:
    with pytest.raises(ValueError, match=r"index must have shape \(n_rows, dim\), got 1-D shape \(12,\)"):
        fastembed.topk(QUERIES, INDEX[0])
    with pytest.raises(ValueError, match="workers must be between 1"):
        fastembed.topk(QUERIES, INDEX, workers=0)
    with pytest.raises(TypeError, match="positional arguments"):
        fastembed.topk(QUERIES, INDEX, 3, "dot")  # type: ignore[misc]
    for check_finite in ("no", None, 2, np.ones(2, dtype=bool)):
        for call in (fastembed.topk, lambda *args, **o: fastembed.range_search(*args, 0.5, **o)):
            for index in (INDEX, fastembed.Index(INDEX)):
                with pytest.raises(TypeError, match="check_finite must be True or False, got"):
                    call(QUERIES, index, check_finite=check_finite)


# A set in itself


@pytest.mark.parametrize("metric", METRICS)
def test_self_topk(metric: str) -> None:
    rows = np.concatenate([INDEX, INDEX[:3], np.zeros((2, 12), dtype=np.float32)])
    wanted = reference.topk(rows, rows, 6, metric, self_first=0)
    assert_same(fastembed.self_topk(rows, 6, metric=metric), wanted)
    assert_same(fastembed.self_topk(fastembed.Index(rows, metric), 6), wanted)
    found = fastembed.self_topk(rows, 1000, metric=metric)
    assert found.ids.shape == (45, 44)
    assert not (found.ids == np.arange(45)[:, None]).any()
    few = fastembed.self_topk(rows, 3, metric=metric, threshold=0.9)
    assert_same(few, reference.topk(rows, rows, 3, metric, self_first=0, threshold=float(np.float32(0.9))))


def test_self_topk_of_an_index_that_changed() -> None:
    index = fastembed.Index(INDEX, ids=[f"{row:02d}" for row in range(40)])
    index.remove(["03", "04"])
    index.update(["01"], INDEX[3:4])
    found = fastembed.self_topk(index, 2)
    rows = index.vectors
    wanted = reference.topk(rows, rows, 2, "cosine", self_first=0)
    assert found.ids.tolist() == index.ids[wanted[1]].tolist()


# Merging


@pytest.mark.parametrize("metric", METRICS)
def test_merged_shards_are_the_whole(metric: str) -> None:
    index = np.concatenate([INDEX, INDEX[::2]])  # ties across shards
    for cuts, k in itertools.product(([20], [1, 7, 50]), (1, 5, 60)):
        shards = np.split(np.arange(60), cuts)
        found = [fastembed.Index(index[rows], metric, ids=rows).search(QUERIES, k) for rows in shards]
        assert_same(fastembed.merge_topk(found, k, metric=metric), fastembed.topk(QUERIES, index, k, metric=metric))
        one = [fastembed.TopK(part.scores[1], part.ids[1]) for part in found]
        whole = fastembed.topk(QUERIES[1], index, k, metric=metric)
        assert_same(fastembed.merge_topk(iter(one), k, metric=metric), whole)


def test_merging_what_is_missing_or_nan() -> None:
    some = fastembed.TopK(np.array([0.5, np.nan, -np.inf], np.float32), np.array([4, 2, -1]))
    more = fastembed.TopK(np.array([0.5, -np.inf], np.float32), np.array([3, 1]))
    merged = fastembed.merge_topk([some, more], 5)
    assert merged.ids.tolist() == [3, 4, 1, 2, -1] and np.isnan(merged.scores[3])
    assert fastembed.merge_topk([some, more]).ids.tolist() == [3, 4, 1]
    names = fastembed.TopK(np.array([0.5, -np.inf], np.float32), np.array(["b", None], dtype=object))
    other = fastembed.TopK(np.array([0.5], np.float32), np.array(["a"], dtype=object))
    assert fastembed.merge_topk([names, other], 3).ids.tolist() == ["a", "b", None]


@pytest.mark.parametrize("queries", [QUERIES, QUERIES[0]])
def test_an_empty_shard_says_nothing_of_ids(queries: np.ndarray) -> None:
    empty = np.empty((0, 12), dtype=np.float32)
    nothing = fastembed.Index(empty, ids=[]).search(queries, 3)
    for ids in ([f"{row:02d}" for row in range(40)], range(40)):
        found = fastembed.Index(INDEX, ids=ids).search(queries, 3)
        for parts in ([nothing, found], [found, nothing]):
            assert_same(fastembed.merge_topk(parts), found)
    assert fastembed.merge_topk([nothing, nothing]).ids.shape == nothing.ids.shape


def test_merging_lists_and_arrays_of_other_dtypes() -> None:
    merged = fastembed.merge_topk([([0.5, 0.25], [1, -1]), fastembed.TopK(np.array([0.75], "f4"), np.array([2], "u8"))])
    assert_same(merged, (np.array([0.75, 0.5], "f4"), np.array([2, 1])))
    assert merged.ids.dtype == np.int64
    names = ([0.5], ["b"]), (np.array([0.5], "f4"), np.array(["a"])), ([0.5, 0.5], ["c", None])
    merged = fastembed.merge_topk(names, 4)
    assert merged.ids.tolist() == ["a", "b", "c", None] and set(map(type, merged.ids[:3])) == {str}


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (fastembed.range_search(QUERIES, INDEX, 0.5), TypeError, " must be a TopK, or scores and ids, got RangeHits"),
        ("ab", TypeError, " must be a TopK, or scores and ids, got str"),
        (np.zeros((2, 3), "f4"), TypeError, " must be a TopK, or scores and ids, got ndarray"),
        ((np.float32(1), 3), ValueError, r" must have scores and ids of one shape, .* got \(\) and \(\)"),
        (([0.5, 0.25], [1]), ValueError, r" must have scores and ids of one shape, .* got \(2,\) and \(1,\)"),
        ((["x"], [1]), ValueError, r"\.scores cannot be read as an array: could not convert"),
        (([[0.5], [0.5, 0.25]], [1, 2]), ValueError, r"\.scores cannot be read as an array: .*inhomogeneous"),
        (([0.5], np.array([1.5])), TypeError, r"\.ids must be all int or all str, got float"),
        (([0.5], [True]), TypeError, r"\.ids must be all int or all str, got bool"),
        (([0.5, 0.25], ["a", 1]), TypeError, r"\.ids must be all int or all str, got int and str"),
        (([0.5], np.array([1 << 63], "u8")), ValueError, r"\.ids must be within int64, got 9223372036854775808"),
        (([0.5], [1 << 70]), ValueError, r"\.ids must be within int64, got 1180591620717411303424"),
    ],
)
def test_results_that_are_none(result: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"results\[1\]{message}"):
        fastembed.merge_topk([([0.5], [3]), result])


def test_results_that_cannot_be_merged() -> None:
    found = fastembed.topk(QUERIES, INDEX, 3)
    with pytest.raises(TypeError, match="results must be an iterable of TopK, got one TopK"):
        fastembed.merge_topk(found)
    with pytest.raises(ValueError, match="results must hold at least one TopK"):
        fastembed.merge_topk([])
    with pytest.raises(ValueError, match="results must be of the same queries"):
        fastembed.merge_topk([found, fastembed.topk(QUERIES[:2], INDEX, 3)])
    names = fastembed.Index(INDEX, ids=[str(row) for row in range(40)]).search(QUERIES, 3)
    with pytest.raises(TypeError, match="results must have ids of one kind"):
        fastembed.merge_topk([found, names])
    with pytest.raises(ValueError, match="k must be at least 0"):
        fastembed.merge_topk([found], -1)


def test_a_set_of_rows_or_ids_is_a_filter() -> None:
    queries, vectors = normal(3, 8, seed=3), normal(40, 8, seed=4)
    wanted = fastembed.topk(queries, vectors, 3, filter=[3, 5, 30])
    assert_same(fastembed.topk(queries, vectors, 3, filter={30, 3, 5}), wanted)
    assert_same(fastembed.Index(vectors).search(queries, 3, filter=frozenset([30, 3, 5])), wanted)
    for view in ({30: 0, 3: 1, 5: 2}.keys(), {"a": 30, "b": 3, "c": 5}.values()):
        assert_same(fastembed.topk(queries, vectors, 3, filter=view), wanted)
        assert_same(fastembed.Index(vectors).search(queries, 3, filter=view), wanted)
    names = [f"row {row}" for row in range(40)]
    index = fastembed.Index(vectors, ids=names)
    for given in ({"row 3", "row 5", "row 30"}, dict.fromkeys(["row 3", "row 5", "row 30"]).keys()):
        named = index.search(queries, 3, filter=given)
        assert named.ids.tolist() == [[names[row] for row in rows] for rows in wanted.ids.tolist()]


@pytest.mark.parametrize("kind", [list, set, tuple, dict.fromkeys])
def test_a_long_id_in_a_filter_makes_the_others_no_longer(kind: Any) -> None:
    names = [*map(str, range(39)), "x" * 100_000]  # 16 MB as an array of str
    index = fastembed.Index(INDEX, ids=names)
    given = kind(names[1:])
    given = given.keys() if isinstance(given, dict) else given
    tracemalloc.start()
    try:
        found = index.search(QUERIES, 40, filter=given)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert set(found.ids[0]) == {*names[1:], None}


def test_one_vector_with_a_mask_of_its_own_gives_one_row() -> None:
    vectors = np.random.default_rng(5).standard_normal((50, 8)).astype(np.float32)
    mask = np.random.default_rng(6).random((1, 49)) < 0.5
    index = fastembed.Index(vectors)
    index.remove([3])  # so that the mask is put in place block by block
    alone, together = index.search(vectors[0], 5, filter=mask), index.search(vectors[:1], 5, filter=mask)
    assert alone.ids.shape == alone.scores.shape == (5,)
    np.testing.assert_array_equal(alone.ids, together.ids[0])
    np.testing.assert_array_equal(alone.scores, together.scores[0])
