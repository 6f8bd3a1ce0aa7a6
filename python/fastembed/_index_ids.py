"""What the rows of an `Index` are called.

Holds the checks and conversions of ids, and the order that breaks ties between equal scores. An array of ids is either
int64, not negative, or of objects that are all str.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._validate import check_unmasked

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64Array = npt.NDArray[np.int64]
    IdArray = npt.NDArray[Any]

__all__ = [
    "MAX_ID",
    "as_ids",
    "check_distinct",
    "id_ranks",
    "is_ascending",
    "is_str_ids",
    "kind_of_ids",
    "no_ids",
    "ranks_of",
    "row_ids",
]

MAX_ID = (1 << 63) - 1


def no_ids(like: IdArray) -> IdArray:
    """No ids at all, of the kind of `like`."""
    return np.empty(0, dtype=like.dtype)


def is_str_ids(ids: IdArray) -> bool:
    """Whether these ids are str."""
    return ids.dtype == np.object_


def kind_of_ids(name: str, listed: list[Any]) -> type:
    """`str` or `int`, which these ids are (`int` if there are none); a TypeError if they are neither, or both."""
    kinds = {str if issubclass(kind, str) else kind for kind in set(map(type, listed))}
    if kinds == {str}:
        return str
    if all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return int
    named = " and ".join(sorted(kind.__name__ for kind in kinds))
    raise TypeError(f"{name} must be all int or all str, got {named}")


def as_ids(name: str, given: Any) -> IdArray:
    """Return `given` as a 1-D array of int64 or of str objects.

    Raises
    ------
    TypeError
        It holds something else than ints or str, or both, or is a masked array.
    ValueError
        An id is negative or beyond int64, or the array has not one dimension.
    """
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of ids, got one {type(given).__name__}")
    if not isinstance(given, np.ndarray) and hasattr(given, "__array__"):
        given = np.asarray(given)
    if isinstance(given, np.ndarray):
        check_unmasked(name, given)
        if given.ndim != 1:
            raise ValueError(f"{name} must have one dimension, got {given.ndim}-D shape {given.shape}")
        if given.dtype.kind in "iu" or given.size == 0:
            return _as_int_ids(name, given)
        listed = given.tolist()
    else:
        try:
            listed = list(given)
        except TypeError:
            raise TypeError(f"{name} must be a sequence of ids, got one {type(given).__name__}") from None
    if kind_of_ids(name, listed) is str:
        ids = np.empty(len(listed), dtype=np.object_)
        ids[:] = [str(key) for key in listed] if set(map(type, listed)) != {str} else listed
        return ids
    try:
        return _as_int_ids(name, np.asarray(listed, dtype=np.int64))
    except OverflowError:
        raise ValueError(f"{name} must be within int64, got {max(listed, key=abs)}") from None


def _as_int_ids(name: str, given: npt.NDArray[Any]) -> Int64Array:
    if given.size and given.dtype.kind == "u" and int(given.max()) > MAX_ID:
        raise ValueError(f"{name} must be within int64, got {int(given.max())}")
    ids = np.ascontiguousarray(given, dtype=np.int64)
    if ids.size and int(ids.min()) < 0:
        position = int(np.argmax(ids < 0))
        raise ValueError(f"{name} must not be negative, got {int(ids[position])} at position {position}")
    return ids


def is_ascending(ids: IdArray) -> bool:
    """Whether every id is greater than the one before."""
    if is_str_ids(ids):
        listed = ids.tolist()
        return all(a < b for a, b in pairwise(listed))
    return bool((ids[1:] > ids[:-1]).all())


def check_distinct(name: str, ids: IdArray) -> None:
    """Raise ValueError if an id occurs twice."""
    if is_str_ids(ids):
        if len(set(ids.tolist())) == len(ids):
            return
    elif is_ascending(ids) or len(np.unique(ids)) == len(ids):
        return
    seen = set()
    for position, key in enumerate(ids.tolist()):
        if key in seen:
            raise ValueError(f"{name} holds {key!r} twice, again at position {position}")
        seen.add(key)


def row_ids(given: Any, count: int) -> IdArray:
    """Return `given` as the distinct ids of `count` rows, in their order.

    Raises
    ------
    TypeError
        As for `as_ids`; or it is a set.
    ValueError
        As for `as_ids`; or there are not `count` ids, or an id occurs twice.
    """
    if isinstance(given, (set, frozenset)):
        raise TypeError(f"ids must be in the order of the rows, got a {type(given).__name__}, which has none")
    ids = as_ids("ids", given)
    if len(ids) != count:
        raise ValueError(f"vectors has {count} rows but ids has {len(ids)}")
    check_distinct("ids", ids)
    return ids


def id_ranks(ids: IdArray, known: Int64Array | None = None) -> Int64Array:
    """Keys that order rows as their ids do; equal ids (of rows that are gone) by row.

    Parameters
    ----------
    ids : ndarray of int64 or object, shape (n_rows,)
    known : ndarray of int64, shape (n_known,), optional
        What this function returned for the first rows, at most all. Only the ids of the others are sorted then.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Int ids themselves; for str ids the numbers from 0 on.
    """
    if not is_str_ids(ids):
        return ids
    begin = 0 if known is None else len(known)
    listed = ids[begin:].tolist()
    rows = begin + np.asarray(sorted(range(len(listed)), key=listed.__getitem__), dtype=np.int64)  # by code point
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[rows] = np.arange(len(rows))
    if known is not None:
        by_rank = np.empty(begin, dtype=np.int64)
        by_rank[known] = np.arange(begin)
        places = np.searchsorted(ids[:begin], ids[rows], side="right", sorter=by_rank)
        ranks[rows] += places
        before = np.cumsum(np.bincount(places, minlength=begin + 1))
        ranks[:begin] = known + before[known]
    return ranks


def ranks_of(ranks: Int64Array, rows: Int64Array) -> Int64Array:
    """The ranks of these rows among themselves, all `ranks` being the numbers from 0 on."""
    chosen = np.zeros(len(ranks), dtype=np.bool_)
    chosen[ranks[rows]] = True
    among: Int64Array = np.cumsum(chosen)[ranks[rows]] - 1
    return among
