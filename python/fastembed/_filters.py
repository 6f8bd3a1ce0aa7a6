"""The `filter` argument: which rows a search may return.

Holds the conversion of masks and of row numbers to what the kernels take. How ids become rows is index.py's business.
"""

from __future__ import annotations

from collections.abc import MappingView, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._engine import PerQueryMask
from fastembed._validate import check_unmasked

if TYPE_CHECKING:
    import numpy.typing as npt

    BoolArray = npt.NDArray[np.bool_]
    Int64Array = npt.NDArray[np.int64]

__all__ = ["as_bool_mask", "as_filter", "rows_mask", "rows_or_mask"]

_BOOLS = {bool, np.bool_}


def as_filter(given: Any) -> npt.NDArray[Any]:
    """Return `given` as an array: of bool if it is a mask, else of ids in one dimension."""
    if isinstance(given, np.ndarray):
        check_unmasked("filter", given)
    listed = isinstance(given, (list, tuple, Set, MappingView))
    array = _listed_array(list(given)) if listed else np.asarray(given)
    if array.dtype != np.bool_:
        if array.ndim == 0:
            kind = type(given).__name__
            raise TypeError(f"filter must be a mask of bool, or the ids to admit as an array or a list, got {kind}")
        if array.ndim != 1:
            raise ValueError(f"a filter of ids must have one dimension, got {array.ndim}-D shape {array.shape}")
        if array.size == 0:
            return array.astype(np.int64)
    return array


def _listed_array(listed: list[Any]) -> npt.NDArray[Any]:
    kinds = set(map(type, listed))
    bools = kinds & _BOOLS
    if bools and bools != kinds:  # NumPy would take True for a 1
        named = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"filter must hold bools alone or none, got {named}")
    # In an array of str each takes the room of the longest.
    has_str = any(issubclass(kind, str) for kind in kinds)
    try:
        return np.asarray(listed, dtype=np.object_ if has_str else None)
    except ValueError as error:
        raise ValueError(f"filter cannot be read as an array: {error}") from error


def rows_mask(rows: Int64Array, n_rows: int) -> BoolArray:
    """Return the mask that admits these rows."""
    mask = np.zeros(n_rows, dtype=np.bool_)
    mask[rows] = True
    return mask


def as_bool_mask(
    given: BoolArray, n_queries: int, n_rows: int, physical_rows: int, positions: Int64Array | None
) -> BoolArray | PerQueryMask:
    """Return a mask over the rows of the matrix that is searched.

    Parameters
    ----------
    given : ndarray of bool, shape (n_rows,) or (n_queries, n_rows)
    n_queries, n_rows : int
    physical_rows : int
        How many rows the matrix has.
    positions : ndarray of int64, shape (n_rows,), or None
        The row of the matrix that each column of `given` stands for, if they are not the same.

    Returns
    -------
    ndarray of bool, shape (physical_rows,) or (n_queries, physical_rows), or PerQueryMask
        C-contiguous.
    """
    if given.shape == (n_rows,):
        if positions is None:
            return np.ascontiguousarray(given)
        return rows_mask(positions[given], physical_rows)
    if given.shape != (n_queries, n_rows):
        raise ValueError(f"filter must have shape ({n_rows},) or ({n_queries}, {n_rows}), got shape {given.shape}")
    if positions is None and given.flags.c_contiguous:
        return given

    def block(begin: int, end: int) -> BoolArray:
        if positions is None:
            return np.ascontiguousarray(given[begin:end])
        full = np.zeros((end - begin, physical_rows), dtype=np.bool_)
        full[:, positions] = given[begin:end]
        return full

    return PerQueryMask(block)


def rows_or_mask(given: Any, n_queries: int, n_rows: int) -> BoolArray | PerQueryMask:
    """Return the mask that `given`, a mask or row numbers, means for a matrix of `n_rows` rows."""
    array = as_filter(given)
    if array.dtype == np.bool_:
        return as_bool_mask(array, n_queries, n_rows, n_rows, None)
    if array.dtype.kind not in "iu":
        raise TypeError(f"filter must be a bool mask or an array of row numbers, got dtype {array.dtype}")
    outside = (array < 0) | (array >= n_rows)
    if outside.any():
        raise ValueError(f"filter names row {int(array[int(np.argmax(outside))])} but index has {n_rows} rows")
    return rows_mask(array.astype(np.int64, copy=False), n_rows)
