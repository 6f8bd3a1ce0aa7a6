"""Exact search over plain matrices: `topk`, `range_search`, `self_topk`, and `merge_topk` for what shards found.

Holds what the arguments mean. An `Index` answers for itself (index.py); the kernels are called in _engine.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._arrays import as_matrix, as_rows
from fastembed._engine import (
    PerQueryMask,
    RangeHits,
    TopK,
    check_k,
    check_metric,
    check_threshold,
    run_range,
    run_topk,
)
from fastembed._filters import rows_or_mask
from fastembed._index_elements import widened
from fastembed._index_ids import MAX_ID, kind_of_ids
from fastembed.index import Index

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
    BoolArray = npt.NDArray[np.bool_]

#: Rows of an index that are asked at a time where they have to be widened first.
_SELF_QUERIES, _SELF_ELEMENTS = 1024, 1 << 21

__all__ = ["RangeHits", "TopK", "merge_topk", "range_search", "self_topk", "topk"]


def metric_of(index: Any, metric: str | None) -> str:
    """The metric to search `index` with: an `Index` has its own, for anything else cosine is the default."""
    if metric is not None:
        check_metric(metric)
    if not isinstance(index, Index):
        return "cosine" if metric is None else metric
    if metric is not None and metric != index.metric:
        raise ValueError(f"metric is {metric!r} but the index was made for {index.metric!r}; leave metric out")
    return index.metric


def topk(
    queries: Any,
    index: Any,
    k: int = 10,
    *,
    metric: str | None = None,
    filter: Any = None,
    threshold: float | None = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> TopK:
    """Find the k best rows of `index` for each query: the true ones, in a defined order.

    Parameters
    ----------
    queries : array_like of float32, shape (n_queries, dim) or (dim,)
        Arrays of any memory layout; float16, float32, float64 and bfloat16 (of ``ml_dtypes``); ints and bool, if
        float32 holds them exactly; lists; objects with ``__array__`` or ``__dlpack__``, torch tensors on the CPU among
        them; `WordVectors`. What is not float32 with contiguous rows is copied; copies of 64 MiB and more are logged by
        the logger "fastembed" as INFO.
    index : array_like of float32, shape (n_rows, dim), or Index or WordVectors
        A memory map is read as it lies and may be larger than the memory. An `Index` keeps norms and ids.
    k : int, default 10
        More than `n_rows` is cut down to it.
    metric : {"cosine", "dot", "l2"}, optional
        **Cosine is the default**: rows need not be normalised. ``"dot"`` is the inner product, ``"l2"`` the *squared*
        Euclidean distance, for which smaller is better. An `Index` has its own metric, and naming another is an error.
    filter : ndarray of bool, shape (n_rows,) or (n_queries, n_rows), or array or set of row numbers, optional
        The rows that may be found. For an `Index` what holds row numbers holds ids. Lists and views of dicts will do.
    threshold : float, optional
        Only rows of at least this score (``"l2"``: at most) are found. Rounded to float32 first.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`. The result does not depend on it.
    check_finite : bool, default True
        Look for NaN and infinity in all queries, and in the rows that the filter admits for any of them. If False, rows
        that score NaN rank last.

    Returns
    -------
    TopK
        ``scores``, float32, and ``ids``, int64, of shape (n_queries, k), or (k,) for a single query, best first. The
        ids are row numbers, or what the `Index` calls its rows. Where fewer than k rows are admitted the id is -1
        (None, if ids are str) and the score -inf (``"l2"``: +inf).

    Raises
    ------
    KeyError
        `filter` names an id that the `Index` does not hold.
    TypeError
        The elements of an argument are no real numbers; `filter` holds bools beside others, or is a masked array.
    ValueError
        The dimensions differ; `queries` or an admitted row of `index` holds NaN or infinity, or any row a number beyond
        float32; `filter` does not fit or names a row that is not there.

    Notes
    -----
    The score of a query q and a row x is defined on the float32 data: the float64 sum of the exact products
    ``q[i] * x[i]``, summed in a fixed order, for ``"cosine"`` divided by both norms (0 if one is 0), and rounded once
    to float32. Better scores come first, equal ones by id ascending. So the result is the same, ids and score bits, on
    every machine, for every number of workers and of queries in a call.

    Memory: some megabytes beyond the result, whatever `k` and the number of queries. Many threads may search at once.
    The GIL is released.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.topk([2, 1], [[1, 0], [0, 1], [1, 1]], k=2)
    TopK(scores=array([0.9486833, 0.8944272], dtype=float32), ids=array([2, 0]))
    >>> fastembed.topk([[2, 1], [0, 9]], [[1, 0], [0, 1], [1, 1]], k=1, metric="l2").ids
    array([[2],
           [1]])
    """
    if isinstance(index, Index):
        metric_of(index, metric)
        return index.search(queries, k, filter=filter, threshold=threshold, workers=workers, check_finite=check_finite)
    if metric is None:
        metric = "cosine"
    else:
        check_metric(metric)
    rows, single = as_rows("queries", queries)
    matrix = as_matrix("index", index)
    k = check_k(k)
    scores, ids = run_topk(
        rows,
        matrix,
        k if k <= len(matrix) else len(matrix),
        metric,
        mask=_mask(filter, rows, matrix),
        threshold=None if threshold is None else check_threshold(threshold),
        check_finite=check_finite,
        workers=workers,
        single=single,
    )
    return TopK(scores, ids)


def _mask(given: Any, queries: Float32Array, index: Float32Array) -> BoolArray | PerQueryMask | None:
    if queries.shape[1] != index.shape[1]:
        raise ValueError(f"queries has dim {queries.shape[1]} but index has dim {index.shape[1]}")
    return None if given is None else rows_or_mask(given, len(queries), len(index))


def range_search(
    queries: Any,
    index: Any,
    threshold: float,
    *,
    metric: str | None = None,
    filter: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> RangeHits:
    """Find all rows of `index` that score at least `threshold` with a query (``"l2"``: at most).

    Parameters
    ----------
    queries : array_like of float32, shape (n_queries, dim) or (dim,)
        See `topk` for what is accepted.
    index : array_like of float32, shape (n_rows, dim), or Index or WordVectors
    threshold : float
        Rounded to float32 first, so that the hits are those for which NumPy says ``scores >= threshold``.
    metric, filter, workers, check_finite
        As for `topk`. **Cosine is the default metric.** NaN scores never match.

    Returns
    -------
    RangeHits
        ``offsets`` (int64), ``scores`` (float32) and ``ids``: the hits of query i are ``[offsets[i]:offsets[i + 1]]``,
        best first, equal scores by id.

    Raises
    ------
    KeyError, TypeError, ValueError
        As for `topk`.

    Notes
    -----
    The result may hold n_queries * n_rows hits, at 12 bytes each. Memory beyond it: some tens of megabytes.

    Examples
    --------
    >>> import fastembed
    >>> hits = fastembed.range_search([[2, 1], [0, 9]], [[1, 0], [0, 1], [1, 1]], threshold=0.7)
    >>> hits.offsets
    array([0, 2, 4])
    >>> hits.ids
    array([2, 0, 1, 2])
    """
    if isinstance(index, Index):
        metric_of(index, metric)
        return index.range_search(queries, threshold, filter=filter, workers=workers, check_finite=check_finite)
    metric = metric_of(index, metric)
    rows, _ = as_rows("queries", queries)
    matrix = as_matrix("index", index)
    return RangeHits(
        *run_range(
            rows,
            matrix,
            check_threshold(threshold),
            metric,
            mask=_mask(filter, rows, matrix),
            check_finite=check_finite,
            workers=workers,
        )
    )


def self_topk(
    vectors: Any,
    k: int = 10,
    *,
    metric: str | None = None,
    threshold: float | None = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> TopK:
    """Find the k best other rows for each row.

    Parameters
    ----------
    vectors : array_like of float32, shape (n, dim), or Index or WordVectors
        See `topk` for what is accepted.
    k : int, default 10
        More than n - 1 is cut down to it.
    metric, threshold, workers, check_finite
        As for `topk`. **Cosine is the default metric.**

    Returns
    -------
    TopK
        Of shape (n, k). A row never finds itself, but its duplicates. For an `Index` queries are in the order of its
        ``ids``.

    Raises
    ------
    TypeError, ValueError
        As for `topk`.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.self_topk([[1, 0], [0, 1], [2, 1]], k=1).ids
    array([[2],
           [2],
           [0]])
    """
    metric = metric_of(vectors, metric)
    state = vectors._rows.compacted() if isinstance(vectors, Index) else None
    matrix = as_matrix("vectors", vectors) if state is None else state.vectors
    k = min(check_k(k), max(len(matrix) - 1, 0))
    threshold = None if threshold is None else check_threshold(threshold)
    # What is kept in fewer bits is never widened whole.
    step = len(matrix) if isinstance(matrix, np.ndarray) else max(_SELF_QUERIES, _SELF_ELEMENTS // matrix.shape[1])
    parts = [
        run_topk(
            widened(matrix[begin : begin + step]),
            matrix,
            k,
            metric,
            norms=None if state is None else state.norms,
            order=None if state is None else state.order,
            threshold=threshold,
            self_first=begin,
            codes=None if state is None or state.coded is None else state.coded.core,
            accelerate=vectors.accelerate if isinstance(vectors, Index) else "auto",
            check_finite=check_finite,
            workers=workers,
            first_query=begin,
            query_name="vectors",
        )
        for begin in range(0, max(len(matrix), 1), max(step, 1))
    ]
    scores, rows = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
    return TopK(scores, rows if state is None else state.ids_of(rows))


def _found_ids(name: str, given: Any) -> npt.NDArray[Any]:
    """Ids that a search found, -1 or None where there is none, as int64 or as objects that are str or None."""
    ids = np.asarray(given, dtype=None if isinstance(given, np.ndarray) else np.object_)  # else 1 beside "a" is "1"
    if ids.dtype.kind not in "iu":
        listed = ["" if key is None else key for key in ids.reshape(-1).tolist()]
        if kind_of_ids(name, listed) is str:
            return ids.astype(np.object_)
    if ids.size and int(ids.max()) > MAX_ID:
        raise ValueError(f"{name} must be within int64, got {int(ids.max())}")
    return ids.astype(np.int64)


def _as_topk(name: str, result: Any) -> TopK:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(f"{name} must be a TopK, or scores and ids, got {type(result).__name__}")
    given = result[0]
    try:
        is_float = isinstance(given, np.ndarray) and given.dtype.kind == "f"
        scores = np.asarray(given, dtype=None if is_float else np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}.scores cannot be read as an array: {error}") from error
    ids = _found_ids(f"{name}.ids", result[1])
    if scores.ndim == 0 or scores.shape != ids.shape:
        shapes = f"{scores.shape} and {ids.shape}"
        raise ValueError(f"{name} must have scores and ids of one shape, (n_queries, k) or (k,), got {shapes}")
    return TopK(scores, ids)


def merge_topk(results: Iterable[TopK], k: int | None = None, *, metric: str = "cosine") -> TopK:
    """Merge what several searches found for the same queries, as if one had searched everything.

    Parameters
    ----------
    results : iterable of TopK
        One for each shard, of the same queries and metric; or pairs of scores and ids, lists too. The shards share no
        id: give each an `Index` with ids of its own, or add its first row number to its ids.
    k : int, optional
        How many to keep. By default the greatest k among the results.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Which way scores are ordered: for ``"l2"`` the least come first.

    Returns
    -------
    TopK
        Exactly what one search over all shards would have given, provided that each found its own best k.

    Raises
    ------
    TypeError
        Some results have int ids and others str (an index without rows has neither), or something is no result.
    ValueError
        There are no results, they are of different queries, or scores and ids of one differ in shape.

    Examples
    --------
    >>> import fastembed
    >>> left, right = [[1, 0], [0, 1]], [[1, 1], [5, 1]]
    >>> found = [fastembed.topk([2, 1], left, k=2), fastembed.topk([2, 1], right, k=2)]
    >>> fastembed.merge_topk([found[0], fastembed.TopK(found[1].scores, found[1].ids + len(left))]).ids
    array([3, 2])
    """
    check_metric(metric)
    if isinstance(results, TopK):
        raise TypeError("results must be an iterable of TopK, got one TopK")
    parts = [_as_topk(f"results[{number}]", result) for number, result in enumerate(results)]
    if not parts:
        raise ValueError("results must hold at least one TopK, got none")
    if len({part.scores.shape[:-1] for part in parts}) != 1:
        shapes = ", ".join(str(part.scores.shape) for part in parts)
        raise ValueError(f"results must be of the same queries, got shapes {shapes}")
    parts = [part for part in parts if part.ids.shape[-1]] or parts[:1]  # an index without rows has ids of no kind
    if len({part.ids.dtype == np.object_ for part in parts}) != 1:
        raise TypeError("results must have ids of one kind, got int and str")
    widest = max(part.scores.shape[-1] for part in parts)
    k = widest if k is None else check_k(k)
    scores = np.concatenate([part.scores for part in parts], axis=-1)
    ids = np.concatenate([part.ids for part in parts], axis=-1)
    if ids.dtype == np.object_:
        missing = np.asarray([key is None for key in ids.reshape(-1)], dtype=np.bool_).reshape(ids.shape)
        places = {key: place for place, key in enumerate(sorted(set(ids[~missing].tolist())))}
        keys = np.asarray([places.get(key, -1) for key in ids.reshape(-1).tolist()], dtype=np.int64).reshape(ids.shape)
    else:
        missing, keys = ids < 0, ids
    ranked = np.lexsort((keys, scores if metric == "l2" else -scores, missing), axis=-1)[..., :k]
    return TopK(np.take_along_axis(scores, ranked, axis=-1), np.take_along_axis(ids, ranked, axis=-1))
