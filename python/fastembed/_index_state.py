"""The rows of an `Index` as one search sees them, and how the next state is made from one.

Holds `Snapshot`, which never changes, and the functions that make a new one: `make`, `append`, `without`, `compact`.
They are called by one writer at a time; readers keep whatever snapshot they have. New rows go to spare capacity behind
the last row of the newest snapshot, which no reader looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._index_elements import Stored
from fastembed._index_ids import id_ranks, is_ascending, is_str_ids, ranks_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastembed._engine import KernelRows
    from fastembed._index_codes import CodedRows

    Float32Array = npt.NDArray[np.float32]
    Int64Array = npt.NDArray[np.int64]
    BoolArray = npt.NDArray[np.bool_]
    IdArray = npt.NDArray[Any]
    #: elements, norms, ids and, for int8, scales
    Store = tuple[npt.NDArray[Any], ...]

__all__ = ["Snapshot", "append", "compact", "make", "needs_compaction", "without", "without_rows"]

_GROWTH = 1.5
_MIN_CAPACITY = 64
_DEAD_TOLERATED = 256


class Snapshot:
    """Rows, their norms and ids, and which of them are alive. Immutable; what is derived is computed when asked for.

    Attributes
    ----------
    elements : ndarray of float32, float16, uint16 or int8, shape (n_rows, dim)
        See `fastembed._index_elements.Stored`.
    scales : ndarray of float32, shape (n_rows,), or None
    vectors : ndarray of float32, or _core.StoredRows
        Both, as the kernels take them.
    norms : ndarray of float32, shape (n_rows,)
        Of what the elements stand for.
    ids : ndarray of int64 or object, shape (n_rows,)
    alive : ndarray of bool, shape (n_rows,), or None
        None: all of them.
    sequence : ndarray of int64, shape (n_rows,), or None
        Places in the order of insertion; None: the row numbers.
    live_count : int
    ascending : bool
        Whether the ids ascend with the rows, dead ones included.
    store : tuple of ndarray
        What `elements`, `norms`, `ids` and, if there are any, `scales` are the beginnings of.
    ranked : ndarray of int64, or None
        What is known of `order`: that of the first rows. Where it is not all, the rest is found when asked for.
    coded : CodedRows or None
        Codes of the first rows; set once, before the snapshot is shown to anyone (_index_rows.py).
    """

    __slots__ = (
        "_identity",
        "_positions",
        "alive",
        "ascending",
        "coded",
        "elements",
        "ids",
        "live_count",
        "norms",
        "ranked",
        "scales",
        "sequence",
        "store",
        "vectors",
    )

    def __init__(
        self,
        store: Store,
        n_rows: int,
        ascending: bool,
        alive: BoolArray | None = None,
        sequence: Int64Array | None = None,
        ranked: Int64Array | None = None,
    ) -> None:
        self.store = store
        self.elements, self.norms, self.ids, *scales = (array[:n_rows] for array in store)
        self.scales: Float32Array | None = scales[0] if scales else None
        self.vectors: KernelRows = Stored(self.elements, self.scales).rows
        self.ascending = ascending
        self.alive = alive
        self.sequence = sequence
        self.live_count = n_rows if alive is None else int(np.count_nonzero(alive))
        self.coded: CodedRows | None = None
        self.ranked = ranked
        self._positions: Int64Array | None = None
        self._identity: bool | None = None

    # Threads that race to fill one of these in compute the same; the last assignment wins and nothing is torn.

    @property
    def order(self) -> Int64Array | None:
        """Keys that break ties between equal scores; None for the row numbers."""
        if self.ascending:
            return None
        if self.ranked is None or len(self.ranked) < len(self.ids):
            self.ranked = id_ranks(self.ids, self.ranked)
        return self.ranked

    @property
    def positions(self) -> Int64Array | None:
        """Rows that are alive, in the order of insertion; None if that is all rows as they stand."""
        if self.alive is None:
            return None
        if self._positions is None:
            rows = np.flatnonzero(self.alive)
            if self.sequence is not None:
                rows = rows[np.argsort(self.sequence[rows], kind="stable")]
            self._positions = rows
        return self._positions

    def ids_of(self, rows: Int64Array) -> IdArray:
        """The ids of these rows; -1 or, for str ids, None where the row is -1."""
        if self._identity is None:
            same = not is_str_ids(self.ids) and self.ascending and len(self.ids) > 0
            self._identity = same and int(self.ids[-1]) == len(self.ids) - 1
        if self._identity:
            return rows
        if len(self.ids) == 0:
            return np.full(rows.shape, None if is_str_ids(self.ids) else -1, dtype=self.ids.dtype)
        ids: IdArray = self.ids[rows]
        missing = rows < 0
        if missing.any():
            ids[missing] = None if is_str_ids(self.ids) else -1
        return ids

    def rows_at(self, rows: slice | Int64Array) -> Stored:
        """These rows, as they are kept."""
        return Stored(self.elements[rows], None if self.scales is None else self.scales[rows])


def _store(stored: Stored, norms: Float32Array, ids: IdArray) -> Store:
    return (stored.elements, norms, ids) if stored.scales is None else (stored.elements, norms, ids, stored.scales)


def make(stored: Stored, norms: Float32Array, ids: IdArray) -> Snapshot:
    """A snapshot of these arrays, without a copy and without spare capacity."""
    return Snapshot(_store(stored, norms, ids), len(ids), is_ascending(ids))


def _grown(array: npt.NDArray[Any], n_rows: int, capacity: int) -> npt.NDArray[Any]:
    grown = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    grown[:n_rows] = array[:n_rows]
    return grown


def append(
    state: Snapshot, stored: Stored, norms: Float32Array, ids: IdArray, replaced: Int64Array | None = None
) -> Snapshot:
    """The snapshot with these rows behind the others; where `replaced` is given, each takes the place of that row."""
    begin, end = len(state.ids), len(state.ids) + len(ids)
    store = state.store
    # A matrix that was given by the user or mapped has no spare rows, so that it is never written to.
    if end > len(store[0]):
        capacity = max(end, _MIN_CAPACITY, int(begin * _GROWTH))
        store = tuple(_grown(array, begin, capacity) for array in store)
    for array, rows in zip(store, _store(stored, norms, ids), strict=True):
        array[begin:end] = rows
    alive, sequence, ascending = state.alive, state.sequence, state.ascending
    if replaced is not None:
        alive = np.ones(end, dtype=np.bool_) if alive is None else np.concatenate([alive, np.ones(len(ids), np.bool_)])
        alive[replaced] = False
        sequence = np.arange(begin, dtype=np.int64) if sequence is None else sequence
        sequence = np.concatenate([sequence, sequence[replaced]])
        return Snapshot(store, end, False, alive, sequence, _ranked(state))
    if alive is not None:
        alive = np.concatenate([alive, np.ones(len(ids), dtype=np.bool_)])
    if sequence is not None:  # rows behind the last insertion: no place is greater than the number of rows
        sequence = np.concatenate([sequence, np.arange(begin, end, dtype=np.int64)])
    ascending = ascending and is_ascending(ids) and (begin == 0 or bool(state.ids[-1] < ids[0]))
    return Snapshot(store, end, ascending, alive, sequence, None if ascending else _ranked(state))


def _ranked(state: Snapshot) -> Int64Array | None:
    """What is known of the order of these rows, for states in which they are the first."""
    return np.arange(len(state.ids), dtype=np.int64) if state.ascending else state.ranked


def without(state: Snapshot, rows: Int64Array) -> Snapshot:
    """The snapshot without these rows, which stay where they are, dead."""
    alive = np.ones(len(state.ids), dtype=np.bool_) if state.alive is None else state.alive.copy()
    alive[rows] = False
    return Snapshot(state.store, len(state.ids), state.ascending, alive, state.sequence, state.ranked)


def without_rows(state: Snapshot, ids: IdArray) -> Snapshot:
    """A snapshot of no rows, of the dim of `state`, for ids of the kind of `ids`, of which there are none."""
    # A slice: without rows there are no strides.
    elements = np.empty((1, state.elements.shape[1]), dtype=state.elements.dtype)[:0]
    scales = None if state.scales is None else np.empty(0, dtype=np.float32)
    return Snapshot(_store(Stored(elements, scales), np.empty(0, dtype=np.float32), ids.copy()), 0, True)


def needs_compaction(state: Snapshot) -> bool:
    """Whether more rows are dead than alive."""
    return len(state.ids) - state.live_count > max(_DEAD_TOLERATED, state.live_count)


def compact(state: Snapshot) -> Snapshot:
    """The snapshot with the dead rows left out and the others in the order of insertion, in memory of its own."""
    positions = state.positions
    if positions is None:
        return state
    if not len(positions):
        return without_rows(state, state.ids[:0])
    compacted = make(state.rows_at(positions), state.norms[positions], state.ids[positions])
    order = state.order if state.ranked is not None and is_str_ids(state.ids) else None
    if order is not None:
        compacted.ranked = ranks_of(order, positions)
    return compacted
