"""The calls of the exact-search kernels, and what comes back from them.

Holds the named tuples of results, the allocation of outputs and the messages about numbers that are not finite. Knows
rows only: what a row is called (its id) is the business of the callers, search.py, _groups.py and index.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from fastembed import _core
from fastembed._config import default_workers
from fastembed._validate import check_bool, check_choice, check_float, check_int

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from fastembed._arrays import Float32Array

    #: The rows of an index: float32, or what an `Index` keeps in fewer bits.
    KernelRows = Float32Array | _core.StoredRows
    Int64Array = npt.NDArray[np.int64]
    BoolArray = npt.NDArray[np.bool_]

__all__ = [
    "METRICS",
    "PerQueryMask",
    "RangeHits",
    "TopK",
    "check_k",
    "check_metric",
    "check_threshold",
    "codes_pay",
    "missing_score",
    "run_count",
    "run_range",
    "run_topk",
    "worker_count",
]

METRICS = ("cosine", "dot", "l2")
_NO_BAD_ROW = (-1, -1)
# What one short query looks up; a name of this module is found sooner than numpy's.
_empty = np.empty
_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)
#: Multiply-adds below which a second thread costs more than it brings; asking how many there may be does too.
_SMALL_WORK = 1 << 19
_MASK_BLOCK_BYTES = 1 << 23
#: Rows for each wanted result from which a scan of codes takes less time than one in float32: for one or two queries,
#: which memory limits, and for more. Below, too many rows have to be scored one by one.
_FEW_QUERIES = 2
_ROWS_A_RESULT_OF_FEW, _ROWS_A_RESULT = 64, 200
#: Fewer queries never code rows on the way (csrc/search/coded_blocks.cpp).
_LEAST_QUERIES_ON_THE_WAY = 64


class TopK(NamedTuple):
    """The best rows of each query, best first.

    Attributes
    ----------
    scores : ndarray of float32, shape (n_queries, k); (k,) for a single query
        -inf (+inf for ``"l2"``) where fewer than k rows were admitted.
    ids : ndarray of int64, the same shape
        -1 where fewer than k rows were admitted. An `Index` with str ids gives an ndarray of object with str, and None
        in place of -1.
    """

    scores: npt.NDArray[np.float32]
    ids: npt.NDArray[Any]


class RangeHits(NamedTuple):
    """All rows within a threshold, query after query; those of query i are ``[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n_queries + 1,)
    scores : ndarray of float32, shape (offsets[-1],)
        Best first within a query.
    ids : ndarray of int64, shape (offsets[-1],)
        An `Index` with str ids gives an ndarray of object with str.
    """

    offsets: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    ids: npt.NDArray[Any]


class PerQueryMask(NamedTuple):
    """A mask for each query that is made in blocks, so that it never exists whole.

    Attributes
    ----------
    block : callable
        ``block(begin, end)`` returns the C-contiguous bool mask of these queries, shape (end - begin, n_rows).
    """

    block: Callable[[int, int], BoolArray]


def check_metric(metric: str) -> str:
    """Return `metric` if there is one of that name."""
    return check_choice("metric", metric, METRICS)


def check_k(k: int) -> int:
    """Return `k` as an int of at least 0."""
    return k if type(k) is int and k >= 0 else check_int("k", k, 0)


def check_threshold(threshold: float) -> float:
    """Return `threshold` rounded to float32, so that it admits just what ``scores >= threshold`` does in NumPy."""
    with np.errstate(over="ignore"):
        return float(np.float32(check_float("threshold", threshold)))


def missing_score(metric: str) -> float:
    """The score of a place that no row was found for."""
    return np.inf if metric == "l2" else -np.inf


def codes_pay(k: int, n_queries: int, n_rows: int) -> bool:
    """Whether ``accelerate="auto"`` reads codes, where there are any, for the k best of so many queries at once."""
    return n_rows >= k * (_ROWS_A_RESULT_OF_FEW if n_queries <= _FEW_QUERIES else _ROWS_A_RESULT)


def worker_count(workers: int | None, multiply_adds: int) -> int:
    """Resolve a ``workers`` argument for this much work."""
    return 1 if workers is None and multiply_adds < _SMALL_WORK else default_workers(workers)


def _refuse(bad: tuple[int, int], first_query: int, query_name: str) -> NoReturn:
    name, row = (query_name, bad[0] + first_query) if bad[0] >= 0 else ("index", bad[1])
    raise ValueError(f"{name} holds NaN or infinity in row {row}; check_finite=False ranks such rows last")


def _blocks(queries: Float32Array, mask: PerQueryMask, n_rows: int) -> Iterator[tuple[int, Float32Array, BoolArray]]:
    """Blocks of queries, each with its first row and its part of the mask."""
    step = max(1, _MASK_BLOCK_BYTES // max(1, n_rows))
    for begin in range(0, len(queries), step):
        part = queries[begin : begin + step]
        yield begin, part, mask.block(begin, begin + len(part))


def run_topk(
    queries: Float32Array,
    index: KernelRows,
    k: int,
    metric: str,
    *,
    norms: Float32Array | None = None,
    mask: BoolArray | PerQueryMask | None = None,
    order: Int64Array | None = None,
    threshold: float | None = None,
    self_first: int = -1,
    codes: _core.IndexCodes | None = None,
    accelerate: str = "auto",
    check_finite: bool = True,
    workers: int | None = None,
    first_query: int = 0,
    query_name: str = "queries",
    single: bool = False,
) -> tuple[Float32Array, Int64Array]:
    """Return scores and rows as `_core.search_topk` finds them: (n_queries, k), or (k,) for a `single` query."""
    if check_finite is not True:
        check_finite = check_bool("check_finite", check_finite)
    n_queries = len(queries)
    scores = _empty(k if single else (n_queries, k), _FLOAT32)
    rows = _empty(k if single else (n_queries, k), _INT64)
    if not isinstance(mask, PerQueryMask):
        may_code = codes is not None or n_queries >= _LEAST_QUERIES_ON_THE_WAY
        pays = accelerate != "auto" or (may_code and codes_pay(k, n_queries, len(index)))
        bad = _core.search_topk(
            queries,
            index,
            metric,
            scores,
            rows,
            norms,
            mask,
            order,
            threshold,
            self_first,
            check_finite,
            worker_count(workers, n_queries * index.size),
            codes,
            accelerate != "none" and pays,
        )
        if bad != _NO_BAD_ROW:
            _refuse(bad, first_query, query_name)
        return scores, rows
    search = partial(run_topk, norms=norms, order=order, threshold=threshold, codes=codes, accelerate=accelerate)
    search = partial(search, check_finite=check_finite, workers=workers, query_name=query_name, single=single)
    for begin, part, part_mask in _blocks(queries, mask, len(index)):
        here = slice(None) if single else slice(begin, begin + len(part))
        own = self_first if self_first < 0 else self_first + begin
        scores[here], rows[here] = search(
            part, index, k, metric, mask=part_mask, self_first=own, first_query=first_query + begin
        )
    return scores, rows


def run_range(
    queries: Float32Array,
    index: KernelRows,
    threshold: float,
    metric: str,
    *,
    norms: Float32Array | None = None,
    mask: BoolArray | PerQueryMask | None = None,
    order: Int64Array | None = None,
    self_first: int = -1,
    codes: _core.IndexCodes | None = None,
    accelerate: bool = True,
    check_finite: bool = True,
    workers: int | None = None,
    query_name: str = "queries",
) -> tuple[Int64Array, Float32Array, Int64Array]:
    """Return offsets, scores and rows as `_core.search_range` finds them."""
    if check_finite is not True:
        check_finite = check_bool("check_finite", check_finite)
    threads = worker_count(workers, queries.shape[0] * index.size)
    blocks = _blocks(queries, mask, len(index)) if isinstance(mask, PerQueryMask) else [(0, queries, mask)]
    parts = []
    for begin, part, part_mask in blocks:
        bad_query, bad_row, offsets, scores, rows = _core.search_range(
            part,
            index,
            metric,
            threshold,
            norms=norms,
            mask=part_mask,
            order=order,
            self_first=self_first if self_first < 0 else self_first + begin,
            check_finite=check_finite,
            workers=threads,
            codes=codes,
            accelerate=accelerate,
        )
        if (bad_query, bad_row) != _NO_BAD_ROW:
            _refuse((bad_query, bad_row), begin, query_name)
        parts.append((offsets, scores, rows))
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([np.zeros(1, dtype=np.int64), *(np.diff(part[0]) for part in parts)])
    scores = np.concatenate([np.empty(0, dtype=np.float32), *(part[1] for part in parts)])
    rows = np.concatenate([np.empty(0, dtype=np.int64), *(part[2] for part in parts)])
    return np.cumsum(counts), scores, rows


def run_count(
    queries: Float32Array,
    index: KernelRows,
    threshold: float,
    metric: str,
    *,
    norms: Float32Array,
    mask: BoolArray | None = None,
    workers: int | None = None,
) -> Int64Array:
    """Return how many rows within the threshold each query has. Both sides are known to be finite."""
    threads = worker_count(workers, queries.shape[0] * index.size)
    _, _, counts = _core.search_count(
        queries, index, metric, threshold, norms=norms, mask=mask, check_finite=False, workers=threads
    )
    return counts
