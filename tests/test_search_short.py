"""One query among few rows, which takes a way of its own: the answers of the definition, and those of the general
search, whose way a second query in the same call makes it take."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastembed
from reference import search as reference
from search_cases import KINDS, METRICS, assert_same, hard, normal

#: Rows and columns: off every block, at the limits of the short way and beyond them.
SIZES = [
    (1, 1),
    (5, 3),
    (63, 128),
    (64, 16),
    (65, 33),
    (129, 2048),
    (1000, 128),
    (2047, 256),
    (2048, 7),
    (2049, 7),
    (33, 2049),
]


def both_ways(search, query: np.ndarray) -> None:
    """`search` finds the same for the query alone as for the query beside another."""
    alone, pair = search(query), search(np.stack([query, query[::-1]]))
    assert_same(alone, (pair.scores[0], pair.ids[0]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_short_searches_are_the_definition(kind: str, metric: str, every_isa: str) -> None:
    queries, index = hard(kind, 4, 1000, 128, seed=3)
    scores, rows = reference.topk(queries, index, 64, metric)
    kept = fastembed.Index(index, metric)
    for query, best, ids in zip(queries, scores, rows, strict=True):
        for k in (1, 10, 64):
            assert_same(fastembed.topk(query, index, k, metric=metric), (best[:k], ids[:k]))
            assert_same(kept.search(query, k), (best[:k], ids[:k]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(size: tuple[int, int], metric: str, every_isa: str) -> None:
    queries, index = normal(3, size[1], 1), normal(*size, 2)
    expected = reference.topk(queries, index, min(size[0], 10), metric)
    for query, best, ids in zip(queries, *expected, strict=True):
        assert_same(fastembed.topk(query, index, 10, metric=metric), (best, ids))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["normal", "duplicates", "small integers", "near ties"])
def test_thresholds_and_orders_of_ids(kind: str, metric: str) -> None:
    queries, index = hard(kind, 3, 900, 24, seed=5)
    ids = np.random.default_rng(6).permutation(900)
    kept = fastembed.Index(index, metric, ids=ids)
    for query in queries:
        scores = kept.search(query, 900).scores
        for place in (0, 5, 100):
            limit = float(scores[place])
            for threshold in (None, limit, float(np.nextafter(np.float32(limit), np.float32(9e9)))):
                for k in (1, 17, 64):
                    both_ways(lambda q, k=k, t=threshold: kept.search(q, k, threshold=t), query)
                    both_ways(
                        lambda q, k=k, t=threshold: fastembed.topk(q, index, k, metric=metric, threshold=t), query
                    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-15, 2.0**-50, 1.0, 2.0**56, 1e17, 1e30])
def test_norms_beyond_the_bounds(scale: float, metric: str) -> None:
    index, query = normal(300, 40), normal(1, 40, 9)[0]
    for row in (0, 150, 299):
        changed = index.copy()
        changed[row] *= np.float32(scale)
        for vector in (query, query * np.float32(scale)):
            expected = reference.topk(vector[None], changed, 10, metric)
            assert_same(fastembed.topk(vector, changed, 10, metric=metric), (expected[0][0], expected[1][0]))
            both_ways(lambda q, rows=changed: fastembed.topk(q, rows, 10, metric=metric), vector)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(bad: float, metric: str) -> None:
    index, query = normal(1000, 16), normal(1, 16, 9)[0]
    index[999, 15] = bad
    with pytest.raises(ValueError, match="index holds NaN or infinity in row 999"):
        fastembed.topk(query, index, metric=metric)
    found = fastembed.topk(query, index, 1000, metric=metric, check_finite=False)
    expected = reference.topk(query[None], index, 1000, metric)
    assert_same(found, (expected[0][0], expected[1][0]))
    query[3] = bad
    with pytest.raises(ValueError, match="queries holds NaN or infinity in row 0"):
        fastembed.topk(query, index[:-1], metric=metric)


def test_many_threads() -> None:
    index, queries = normal(1000, 128), normal(64, 128, 3)
    kept = fastembed.Index(index)
    expected = fastembed.topk(queries, index)
    failed: list[int] = []

    def search(first: int) -> None:
        for number in range(first, 64, 4):
            found = kept.search(queries[number])
            if not (
                np.array_equal(found.ids, expected.ids[number])
                and np.array_equal(found.scores, expected.scores[number])
            ):
                failed.append(number)

    threads = [threading.Thread(target=search, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
