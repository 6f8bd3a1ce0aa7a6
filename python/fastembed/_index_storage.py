"""The open layout of an `Index` on the disk.

Holds `save_index` and `load_index`; how any store is written, checked and replaced is in _store.py. The layout::

    metadata.json   format, version, generation, n_rows, dim, the names and sizes of the files below, metric, next_id
    vectors.npy     float32, shape (n_rows, dim), in the order of insertion
    norms.npy       float32, shape (n_rows,)
    ids.npy         int64, shape (n_rows,); or
    ids.txt         UTF-8, one id a line, each line ended by one line feed
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._engine import METRICS
from fastembed._index_ids import as_ids, check_distinct, is_str_ids
from fastembed._index_state import make
from fastembed._store import (
    METADATA,
    Kind,
    Rows,
    Text,
    check_target,
    load_array,
    load_lines,
    load_whole,
    write_store,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastembed._index_state import Snapshot

__all__ = ["load_index", "save_index"]

_KIND = Kind("fastembed.Index", ("vectors", "norms", "ids"), ("n_rows", "dim", "next_id"))


def save_index(path: str | os.PathLike[str], state: Snapshot, next_id: int, metric: str) -> None:
    """Write the live rows of `state`; see `fastembed.Index.save`."""
    check_target(path, _KIND)
    positions = state.positions
    count, dim = state.live_count, state.vectors.shape[1]

    def read(begin: int, end: int) -> npt.NDArray[np.float32]:
        rows: npt.NDArray[np.float32] = state.vectors[slice(begin, end) if positions is None else positions[begin:end]]
        return np.ascontiguousarray(rows)

    ids = state.ids if positions is None else state.ids[positions]
    files: dict[str, npt.NDArray[Any] | Rows | Text] = {
        "vectors": Rows((count, dim), np.dtype(np.float32), read),
        "norms": state.norms if positions is None else state.norms[positions],
        "ids": Text(ids.tolist()) if is_str_ids(ids) else ids,
    }
    write_store(path, _KIND, files, {"n_rows": count, "dim": dim, "next_id": next_id, "metric": metric})


def load_index(path: str | os.PathLike[str], mmap: bool, verify: bool) -> tuple[Snapshot, int, str]:
    """Return state, next id and metric of the index saved at `path`; see `fastembed.Index.load`."""

    def load(directory: str, metadata: dict[str, Any]) -> tuple[Snapshot, int, str]:
        count, dim, files = metadata["n_rows"], metadata["dim"], metadata["files"]
        name = os.path.join(directory, METADATA)
        metric = metadata["metric"]
        if metric not in METRICS:
            raise ValueError(f"{name}: unknown metric {metric!r}, wanted one of {METRICS}")
        vectors = load_array(directory, files["vectors"], "float32", (count, dim), mmap=mmap, verify=verify)
        norms = load_array(directory, files["norms"], "float32", (count,), mmap=False, verify=verify)
        if files["ids"]["name"].endswith(".txt"):
            ids = np.empty(count, dtype=np.object_)
            ids[:] = load_lines(directory, files["ids"], count)
        else:
            ids = as_ids("ids", load_array(directory, files["ids"], "int64", (count,), mmap=False, verify=verify))
        check_distinct("ids", ids)
        return make(np.asarray(vectors), norms, ids), metadata["next_id"], metric

    return load_whole(path, _KIND, load)
