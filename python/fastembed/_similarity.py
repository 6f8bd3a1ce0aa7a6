"""Scores of given pairs: `similarity`, `paired_similarity` and `normalize`.

Holds what the arguments mean. The module is not called similarity.py because ``fastembed.similarity`` is the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import _core
from fastembed._arrays import as_output, as_rows, check_same_dim
from fastembed._engine import check_metric, worker_count

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]

__all__ = ["normalize", "paired_similarity", "similarity"]

_BLOCK_BYTES = 1 << 22


def similarity(
    a: Any, b: Any, metric: str = "cosine", out: Float32Array | None = None, workers: int | None = None
) -> Any:
    """Score of every row of `a` with every row of `b`.

    Parameters
    ----------
    a : array_like of float32, shape (n, dim) or (dim,)
        Of any memory layout; see `fastembed.topk` for what else is accepted.
    b : array_like of float32, shape (m, dim) or (dim,)
    metric : {"cosine", "dot", "l2"}, default "cosine"
        **Cosine is the default**: rows need not be normalised. ``"dot"`` is the inner product, ``"l2"`` the *squared*
        Euclidean distance, for which smaller is nearer.
    out : ndarray of float32, optional
        Where the result goes: of exactly its shape, writable, of any layout, sharing no memory with `a` and `b`.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`.

    Returns
    -------
    ndarray of float32, shape (n, m)
        Without the axis of an argument that is a single vector, as with NumPy's products: (m,), (n,), or one float32
        for two vectors. It is `out`, if given.

    Raises
    ------
    TypeError
        The elements of `a` or `b` are no real numbers, or `out` is no float32 array.
    ValueError
        The dimensions differ, `out` does not fit, or a number is beyond float32.

    Notes
    -----
    The cosine with a zero vector is 0. NaN and infinity propagate. Results are float32 within a proven bound of the
    exact scores; `paired_similarity` and `topk` give those themselves, rounded once. The time is n * m * dim
    multiply-adds; nothing beyond the result is allocated but panels of a fixed size.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.similarity([[1, 0], [1, 1]], [[2, 0], [0, 3]], metric="dot")
    array([[2., 0.],
           [2., 3.]], dtype=float32)
    >>> fastembed.similarity([3, 4], [[3, 4], [-3, -4]])
    array([ 1., -1.], dtype=float32)
    """
    check_metric(metric)
    rows_a, single_a = as_rows("a", a)
    rows_b, single_b = as_rows("b", b)
    check_same_dim("a", rows_a, "b", rows_b)
    shape = (() if single_a else (len(rows_a),)) + (() if single_b else (len(rows_b),))
    threads = worker_count(workers, len(rows_a) * rows_b.size)
    if out is None:
        result = np.empty((len(rows_a), len(rows_b)), dtype=np.float32)
        if result.size:
            _core.similarity(rows_a, rows_b, metric, result, threads)
        return result.reshape(shape)[()]
    as_output(out, shape, [("a", rows_a), ("b", rows_b)])
    target = _two_axes(out, single_a, single_b)
    if target.size and _is_row_contiguous(target):
        _core.similarity(rows_a, rows_b, metric, target, threads)
        return out
    step = max(1, _BLOCK_BYTES // max(1, 4 * len(rows_b)))
    for begin in range(0, len(rows_a) if target.size else 0, step):
        block = np.empty((len(rows_a[begin : begin + step]), len(rows_b)), dtype=np.float32)
        _core.similarity(rows_a[begin : begin + step], rows_b, metric, block, threads)
        target[begin : begin + step] = block
    return out


def paired_similarity(
    a: Any, b: Any, metric: str = "cosine", out: Float32Array | None = None, workers: int | None = None
) -> Any:
    """Score of each row of `a` with the same row of `b`.

    Parameters
    ----------
    a, b : array_like of float32, shape (n, dim) or (dim,)
        Of the same shape, any memory layout; see `fastembed.topk` for what else is accepted.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        **Cosine is the default.** ``"l2"`` is the *squared* Euclidean distance.
    out : ndarray of float32, shape (n,), optional
        Where the result goes: writable, sharing no memory with `a` and `b`.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`.

    Returns
    -------
    ndarray of float32, shape (n,)
        Or one float32 for two vectors. It is `out`, if given.

    Raises
    ------
    TypeError
        The elements of `a` or `b` are no real numbers, or `out` is no float32 array.
    ValueError
        The shapes differ, `out` does not fit, or a number is beyond float32.

    Notes
    -----
    These are the scores of `fastembed.topk` to the last bit: sums of exact products in float64, rounded once. The
    cosine with a zero vector is 0. NaN and infinity propagate.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.paired_similarity([[1, 0], [3, 4]], [[0, 1], [3, 0]])
    array([0. , 0.6], dtype=float32)
    """
    check_metric(metric)
    rows_a, single_a = as_rows("a", a)
    rows_b, single_b = as_rows("b", b)
    check_same_dim("a", rows_a, "b", rows_b)
    if single_a != single_b or len(rows_a) != len(rows_b):
        shapes = [
            (rows.shape[1:] if single else rows.shape) for rows, single in ((rows_a, single_a), (rows_b, single_b))
        ]
        raise ValueError(f"a and b must have the same shape, got {shapes[0]} and {shapes[1]}")
    shape = () if single_a else (len(rows_a),)
    threads = worker_count(workers, rows_a.size)
    result = np.empty(len(rows_a), dtype=np.float32)
    if out is not None:
        as_output(out, shape, [("a", rows_a), ("b", rows_b)])
        if out.flags.c_contiguous:
            result = out.reshape(len(rows_a))
    if result.size:
        _core.paired_similarity(rows_a, rows_b, metric, result, threads)
    if out is None:
        return result.reshape(shape)[()]
    if not out.flags.c_contiguous:
        out[...] = result
    return out


def normalize(x: Any, out: Float32Array | None = None, workers: int | None = None) -> Float32Array:
    """Scale every row to length one.

    Parameters
    ----------
    x : array_like of float32, shape (n, dim) or (dim,)
        Of any memory layout; see `fastembed.topk` for what else is accepted.
    out : ndarray of float32, of the shape of `x`, optional
        Where the result goes: writable, of any layout. ``out=x`` works in place.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`.

    Returns
    -------
    ndarray of float32, of the shape of `x`
        It is `out`, if given.

    Raises
    ------
    TypeError
        The elements of `x` are no real numbers, or `out` is no float32 array.
    ValueError
        `out` does not fit or overlaps `x` in part, or a number is beyond float32.

    Notes
    -----
    Each element is divided by the float64 norm of its row and rounded once, so that no scale overflows or vanishes.
    Zero rows stay zero; rows with NaN or infinity have no direction and come out as NaN where they are not zero.
    `topk` and `similarity` with ``metric="cosine"`` do not need it: their results are those of the rows as given.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.normalize([[3, 4], [0, 0]])
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    rows, single = as_rows("x", x)
    shape = rows.shape[1:] if single else rows.shape
    threads = worker_count(workers, rows.size)
    if out is None:
        result = np.empty(rows.shape, dtype=np.float32)
        if result.size:
            _core.normalize_rows(rows, result, threads)
        return result.reshape(shape)
    as_output(out, shape, [])
    target = _two_axes(out, single, False)
    in_place = _is_same_memory(target, rows)
    if not in_place:
        as_output(out, shape, [("x", rows)])
    if not in_place and target.size and _is_row_contiguous(target):
        _core.normalize_rows(rows, target, threads)
        return out
    step = max(1, _BLOCK_BYTES // (4 * rows.shape[1]))
    for begin in range(0, len(rows), step):
        block = np.empty((len(rows[begin : begin + step]), rows.shape[1]), dtype=np.float32)
        _core.normalize_rows(rows[begin : begin + step], block, threads)
        target[begin : begin + step] = block
    return out


def _two_axes(out: Float32Array, first_missing: bool, second_missing: bool) -> Float32Array:
    """A view of `out` as a matrix."""
    if out.flags.c_contiguous:  # with the strides of a fresh array, which an axis from np.newaxis lacks
        return out.reshape(1 if first_missing else len(out), 1 if second_missing else out.shape[-1])
    view: Float32Array = out[
        np.newaxis if first_missing else slice(None), np.newaxis if second_missing else slice(None)
    ]
    return view


def _is_row_contiguous(matrix: Float32Array) -> bool:
    row_stride, inner_stride = matrix.strides
    whole = row_stride >= 4 * matrix.shape[1] and row_stride % 4 == 0
    return inner_stride == 4 and whole and matrix.flags.aligned


def _is_same_memory(a: Float32Array, b: Float32Array) -> bool:
    same_layout = a.shape == b.shape and (a.strides == b.strides or len(a) == 1)
    return same_layout and a.ctypes.data == b.ctypes.data
