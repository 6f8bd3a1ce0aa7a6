"""Results by the hundred thousand: a very large `k`, and thresholds that let nearly every row through."""

from __future__ import annotations

import numpy as np
import pytest

import fastembed
from search_cases import assert_same, normal

N_ROWS, DIM = 700_000, 3
K = 500_000  # with two workers or more beyond what lists are kept for; with one they are

rng = np.random.default_rng(5)
WHOLE = rng.integers(-9, 10, (N_ROWS, DIM)).astype(np.float32)  # products are exact in any order, and ties abound
QUERIES = rng.integers(-9, 10, (2, DIM)).astype(np.float32)


def in_order(metric: str, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows of WHOLE by the definition, which whole numbers make exact."""
    scores = WHOLE @ query if metric == "dot" else ((WHOLE - query) ** 2).sum(1)
    order = np.argsort(-scores if metric == "dot" else scores, kind="stable")
    return scores[order], order.astype(np.int64)


@pytest.mark.parametrize(
    ("metric", "accelerate", "workers"),
    [
        pytest.param("l2", "auto", 2, marks=pytest.mark.threads),
        *(
            pytest.param(metric, accelerate, workers, marks=pytest.mark.slow)
            for metric in ("dot", "l2")
            for accelerate, workers in (("none", 1), ("none", 2), ("auto", 5))
        ),
    ],
)
def test_k_of_half_a_million(metric: str, accelerate: str, workers: int) -> None:
    index = fastembed.Index(WHOLE, metric, accelerate=accelerate)
    found = index.search(QUERIES, K, workers=workers)
    for q, query in enumerate(QUERIES):
        scores, ids = in_order(metric, query)
        assert_same((found.scores[q], found.ids[q]), (scores[:K], ids[:K]))


def test_filter_threshold_and_names() -> None:
    """Of fewer rows than k, by ids that run the other way, so that ties do too."""
    scores, ids = in_order("dot", QUERIES[0])
    keep = (ids % 2 == 0) & (scores >= 3)
    wanted = np.lexsort((-ids[keep], -scores[keep]))
    index = fastembed.Index(WHOLE, "dot", ids=np.arange(N_ROWS)[::-1])
    found = index.search(QUERIES[0], K, filter=np.arange(N_ROWS)[::-1][::2], threshold=3, workers=2)
    count = int(keep.sum())
    assert 100_000 < count < K
    assert_same((found.scores[:count], found.ids[:count]), (scores[keep][wanted], N_ROWS - 1 - ids[keep][wanted]))
    assert (found.ids[count:] == -1).all()
    assert (found.scores[count:] == -np.inf).all()


@pytest.mark.parametrize(
    ("arrangement", "accelerate"),
    [
        ("equal", "auto"),
        ("mixed", "none"),
        *(pytest.param(a, "auto", marks=pytest.mark.slow) for a in ("mixed", "best last")),
    ],
)
def test_rows_that_are_found_and_dropped_again(arrangement: str, accelerate: str) -> None:
    """More than a million beyond k, so that the scan's threshold rises on the way: once, or again and again. Of equal
    rows the later ones come first, which a threshold must not keep out."""
    n_rows, k = 2_600_000, 450_000
    rows = np.random.default_rng(6).integers(-9, 10, (n_rows, 2)).astype(np.float32)
    query = np.array([3, -1], np.float32)
    if arrangement == "best last":
        rows = rows[np.argsort(rows @ query, kind="stable")]
    elif arrangement == "equal":
        rows[:400_000], rows[400_000:] = [2, 1], [1, 0]
    ids = np.arange(n_rows)[::-1]
    scores = rows @ query
    order = np.lexsort((ids, -scores))[:k]
    found = fastembed.Index(rows, "dot", ids=ids, accelerate=accelerate).search(query, k, workers=2)
    assert_same((found.scores, found.ids), (scores[order], ids[order]))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_nan_goes_last(metric: str) -> None:
    rows = normal(N_ROWS, DIM)
    rows[:250_000] = np.nan
    deep = fastembed.topk(QUERIES[0], rows, N_ROWS, metric=metric, check_finite=False, workers=2)
    assert deep.ids[-250_000:].tolist() == list(range(250_000))
    assert np.isnan(deep.scores[-250_000:]).all()
    assert_same(deep, fastembed.topk(QUERIES[0], rows, N_ROWS, metric=metric, check_finite=False, workers=1))
    some = fastembed.topk(QUERIES[0], rows, K, metric=metric, check_finite=False, workers=2)
    assert_same(some, (deep.scores[:K], deep.ids[:K]))
    with pytest.raises(ValueError, match="row 0"):
        fastembed.topk(QUERIES[0], rows, N_ROWS, metric=metric, workers=2)


@pytest.mark.slow
def test_queries_and_rows_that_only_the_definition_can_take() -> None:
    rows = normal(N_ROWS, DIM)
    rows[::3] *= np.float32(1e30)
    queries = normal(3, DIM, 1)
    queries[1] *= np.float32(1e-40)
    for metric in ("cosine", "dot", "l2"):
        deep = fastembed.topk(queries, rows, K, metric=metric, workers=2)
        assert_same(deep, fastembed.topk(queries, rows, K, metric=metric, workers=1))


def test_every_row_once() -> None:
    rows = normal(N_ROWS, DIM)
    whole = fastembed.topk(rows[1], rows, N_ROWS, workers=2)
    assert whole.ids[0] == 1
    assert (np.bincount(whole.ids, minlength=N_ROWS) == 1).all()
    assert (whole.scores[:-1] >= whole.scores[1:]).all()


@pytest.mark.parametrize(
    ("metric", "workers"),
    [("dot", 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("l2", 1), ("l2", 3)))],
)
def test_range_of_nearly_all(metric: str, workers: int) -> None:
    """One query at a time, whose hits are sorted where they lie, and beside one that finds nothing."""
    threshold = -200 if metric == "dot" else 500
    hits = fastembed.range_search(QUERIES[0], WHOLE, threshold, metric=metric, workers=workers)
    scores, ids = in_order(metric, QUERIES[0])
    kept = scores >= threshold if metric == "dot" else scores <= threshold
    assert kept.sum() > 400_000
    assert_same((hits.scores, hits.ids), (scores[kept], ids[kept]))
    assert hits.offsets.tolist() == [0, kept.sum()]


@pytest.mark.timed
@pytest.mark.slow
def test_ctrl_c_between_queries(run_python) -> None:
    code = """
import _thread, threading, time
import numpy as np, fastembed
rows = np.random.default_rng(0).standard_normal((700_000, 3), dtype=np.float32)
threading.Timer(0.5, _thread.interrupt_main).start()
began = time.perf_counter()
try:
    fastembed.topk(rows[:200], rows, 500_000, workers=2)
except KeyboardInterrupt:
    print(time.perf_counter() - began < 3)
"""
    done = run_python(code, timeout=60)
    assert done.stdout == "True\n", done.stdout + done.stderr
