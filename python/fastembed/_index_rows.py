"""The current state of an `Index`, shared between threads, and where its ids are.

Holds the locks. A reader takes the current snapshot, an attribute, and needs no lock; to find ids it takes a lock that
is never held for long. Writers take turns: each holds `writing` while it prepares the next snapshot.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._index_ids import MAX_ID, is_str_ids, no_ids, row_ids
from fastembed._index_state import compact, needs_compaction, without_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastembed._index_codes import Coder
    from fastembed._index_state import Snapshot

    Int64Array = npt.NDArray[np.int64]

__all__ = ["IndexRows"]


class IndexRows:
    """The current snapshot and the locks.

    Attributes
    ----------
    state : Snapshot
        The current one. Read it once for one answer.
    next_id : int
        Greater than every int id there ever was.
    coder : Coder
        Makes the codes of new rows.
    writing : threading.RLock
        To be held from reading the state that the next one is made from until that is the current one.
    """

    def __init__(self, state: Snapshot, next_id: int, coder: Coder) -> None:
        if state.coded is None:
            state.coded = coder.updated(None, state.vectors, state.norms)
        self.state = state
        self.coder = coder
        self.next_id = next_id
        self._reset_locks()
        _instances.add(self)

    def _reset_locks(self) -> None:
        self.writing = threading.RLock()
        self._looking = threading.Lock()  # guards the pair of state and rows_of
        # Rows by id, made when first needed; int ids that ascend with the rows do without. Entries of dead rows stay.
        self._rows_of: dict[Any, int] | None = None

    def current(self) -> tuple[Snapshot, int]:
        """State and next id that belong together."""
        with self.writing:
            return self.state, self.next_id

    def compacted(self) -> Snapshot:
        """The current state, in which all rows are alive and in the order of insertion."""
        state = self.state
        if state.alive is None:
            return state
        with self.writing:
            if self.state.alive is not None:
                self._set_compact(compact(self.state))
            return self.state

    def extend(self, state: Snapshot) -> None:
        """Make `state` the current one: the rows of the one before, dead or alive, and perhaps more."""
        state.coded = self.coder.updated(self.state.coded, state.vectors, state.norms)
        with self._looking:
            if self._rows_of is not None:
                begin, end = len(self.state.ids), len(state.ids)
                self._rows_of.update(zip(state.ids[begin:].tolist(), range(begin, end), strict=True))
            self.state = state

    def replace(self, state: Snapshot) -> None:
        """Make `state` the current one, or that compacted if most of its rows are dead."""
        if needs_compaction(state):
            self._set_compact(compact(state))
        else:
            self.extend(state)

    def _set_compact(self, state: Snapshot) -> None:
        state.coded = self.coder.updated(None, state.vectors, state.norms)
        with self._looking:
            self._rows_of = None
            self.state = state

    def locate(self, ids: npt.NDArray[Any]) -> tuple[Snapshot, Int64Array]:
        """The current state and in it the row of each id, -1 for one that it does not hold."""
        state = self.state
        if is_str_ids(ids) != is_str_ids(state.ids) or not len(state.ids):
            return state, np.full(len(ids), -1, dtype=np.int64)
        if state.ascending and not is_str_ids(ids):
            rows = np.minimum(np.searchsorted(state.ids, ids), len(state.ids) - 1)
            rows[state.ids[rows] != ids] = -1
        else:
            state, rows = self._look_up(ids.tolist())
        if state.alive is not None:
            rows[~state.alive[rows]] = -1
        return state, rows

    def _look_up(self, keys: list[Any]) -> tuple[Snapshot, Int64Array]:
        with self._looking:
            state, rows_of = self.state, self._rows_of
            if rows_of is None:
                live = state.positions
                if live is None:
                    rows_of = dict(zip(state.ids.tolist(), range(len(state.ids)), strict=True))
                else:
                    rows_of = dict(zip(state.ids[live].tolist(), live.tolist(), strict=True))
                self._rows_of = rows_of
            return state, np.asarray([rows_of.get(key, -1) for key in keys], dtype=np.int64)

    def known(self, name: str, ids: npt.NDArray[Any]) -> tuple[Snapshot, Int64Array]:
        """As `locate`; an id that the index does not hold is a KeyError."""
        state, rows = self.locate(ids)
        if (rows < 0).any():
            missing = ids[rows < 0].tolist()
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise KeyError(f"{name} holds {missing[0]!r}{more}, which the index does not")
        return state, rows

    def new_ids(self, ids: Any, count: int) -> npt.NDArray[Any]:
        """The ids of `count` rows to be added: what `ids` says, or, where that is None, the ints that follow."""
        has_str = is_str_ids(self.state.ids)
        if ids is None:
            if has_str:
                raise TypeError("ids must be given, as the index has str ids")
            if not count:
                return no_ids(self.state.ids)
            if self.next_id + count > MAX_ID + 1:
                raise ValueError(f"ids must be given, as fewer than {count} ints within int64 follow the greatest id")
            return np.arange(self.next_id, self.next_id + count, dtype=np.int64)
        keys = row_ids(ids, count)
        if not count:
            return no_ids(self.state.ids)
        if not (len(self.state.ids) or self.next_id or has_str):  # the first ids say which kind they are
            self.extend(without_rows(self.state, keys[:0]))
        elif is_str_ids(keys) != has_str:
            wanted, got = ("str", "int") if has_str else ("int", "str")
            raise TypeError(f"ids must be {wanted}, as those of the index are, got {got}")
        _, rows = self.locate(keys)
        if (rows >= 0).any():
            raise ValueError(f"ids holds {keys[rows >= 0].tolist()[0]!r}, which the index holds already")
        return keys


_instances: weakref.WeakSet[IndexRows] = weakref.WeakSet()


def _reset_locks_after_fork() -> None:
    for rows in _instances:  # a thread that held one of these locks does not exist in the child
        rows._reset_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_locks_after_fork)
