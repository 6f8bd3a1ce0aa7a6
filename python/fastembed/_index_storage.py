"""The open layout of an `Index` on the disk.

Holds `save_index` and `load_index`; how any store is written, checked and replaced is in _store.py. The layout::

    metadata.json   format, version, generation, n_rows, dim, the names and sizes of the files below, metric, next_id,
                    accelerate, storage
    vectors.npy     float32, float16, uint16 (the bits of bfloat16) or int8, shape (n_rows, dim), in the order of
                    insertion
    scales.npy      float32, shape (n_rows,), for the storage "int8": a row stands for its int8 times its scale
    norms.npy       float32, shape (n_rows,)
    ids.npy         int64, shape (n_rows,); or
    ids.txt         UTF-8, one id a line, each line ended by one line feed

and, if the index keeps codes (docs/exact-search.md)::

    codes.npy       uint8, shape (coded rows * stride + 64,); or, of bfloat16, their bits as uint16, half as many
    code_terms.npy  float32, shape (3, coded rows / 8): scale, length and error of each group of rows; then, for each of
                    the next three that there is, the error that it leaves
    code_residuals.npy  uint8, shape (coded rows * stride,): what codes of 8 bits leave over, in 4 bits more
    code_coarse.npy  uint8, shape (coded rows * stride + 64,): the upper halves of codes of 8 bits
    code_quarters.npy  uint8, shape (coded rows * stride,): the two bits below these
    code_squares.npy  float32, shape (coded rows,), for the metric "l2"
    code_mean.npy   float32, shape (dim,)
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import _core
from fastembed._engine import METRICS
from fastembed._index_codes import (
    ACCELERATE,
    CODE_BITS,
    CODE_SLACK,
    GROUP,
    CodeArrays,
    CodedRows,
    Coder,
    code_blocks,
    nibble_stride_of,
    stride_of,
)
from fastembed._index_elements import STORAGES, Stored, dtype_of, storage_of
from fastembed._index_ids import as_ids, check_distinct, is_str_ids
from fastembed._index_state import make
from fastembed._memory import available_memory
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

    from fastembed._engine import KernelRows
    from fastembed._index_state import Snapshot

__all__ = ["load_index", "save_index"]

_KIND = Kind(
    "fastembed.Index",
    (
        *("vectors", "scales", "norms", "ids"),
        *("codes", "code_terms", "code_residuals", "code_coarse", "code_quarters", "code_squares", "code_mean"),
    ),
    ("n_rows", "dim", "next_id"),
)
#: What goes with codes of 8 bits, each only where those before it are there.
_PARTS = ("code_residuals", "code_coarse", "code_quarters")
#: Of the elements of codes.npy, by kind of code.
_DTYPES = {kind: f"uint{bits}" for kind, bits in CODE_BITS.items()}


def _coded_files(state: Snapshot) -> dict[str, npt.NDArray[Any] | Rows | Text]:
    """The files of the codes of the live rows in the order of insertion; none if there are no codes."""
    coded, positions = state.coded, state.positions
    if coded is None:
        return {}
    if positions is not None:

        def read(begin: int, end: int) -> tuple[KernelRows, npt.NDArray[np.float32]]:
            return state.rows_at(positions[begin:end]).rows, state.norms[positions[begin:end]]

        coded = code_blocks(coded.kind, coded.metric, coded.mean, coded.refines, read, len(positions))
    codes, groups, squares, *parts = coded.used()
    files: dict[str, npt.NDArray[Any] | Rows | Text] = {
        "codes": codes.view(_DTYPES[coded.kind]),
        "code_terms": np.stack(groups),
        "code_mean": coded.mean,
    }
    files |= {key: part for key, part in zip(_PARTS, parts, strict=True) if part is not None}
    if squares is not None:
        files["code_squares"] = squares
    return files


def _load_coded(
    directory: str, files: dict[str, Any], coder: Coder, count: int, dim: int, mmap: bool, verify: bool
) -> CodedRows | None:
    if "codes" not in files:
        return None
    rows, metric, kind = count // GROUP * GROUP, coder.metric, coder.kind

    def load(key: str, dtype: str, shape: tuple[int, ...], mmap: bool = False) -> npt.NDArray[Any]:
        return np.asarray(load_array(directory, files[key], dtype, shape, mmap=mmap, verify=verify))

    size = (rows * stride_of(kind, dim) + CODE_SLACK) * 8 // CODE_BITS[kind]
    codes = load("codes", _DTYPES[kind], (size,), mmap).view(np.uint8)

    nibbles = rows * nibble_stride_of(dim)
    sizes = dict(zip(_PARTS, (nibbles, nibbles + CODE_SLACK, nibbles // 2), strict=True))
    parts = [load(key, "uint8", (sizes[key],), mmap) for key in itertools.takewhile(files.__contains__, _PARTS)]
    terms = load("code_terms", "float32", (3 + len(parts), rows // GROUP))
    squares = load("code_squares", "float32", (rows,)) if metric == "l2" else None
    mean = load("code_mean", "float32", (dim,))
    arrays = CodeArrays(codes, tuple(terms), squares, *parts)
    mapped = sum(array.nbytes for array in (codes, *parts)) if mmap else 0
    return CodedRows(kind, metric, mean, arrays, rows, count, reads_partial=mapped <= available_memory() // 2)


def save_index(path: str | os.PathLike[str], state: Snapshot, next_id: int, coder: Coder) -> None:
    """Write the live rows of `state`; see `fastembed.Index.save`."""
    check_target(path, _KIND)
    positions = state.positions
    count, dim = state.live_count, state.elements.shape[1]

    def read(begin: int, end: int) -> npt.NDArray[Any]:
        return np.ascontiguousarray(state.elements[slice(begin, end) if positions is None else positions[begin:end]])

    ids = state.ids if positions is None else state.ids[positions]
    files: dict[str, npt.NDArray[Any] | Rows | Text] = {
        "vectors": Rows((count, dim), state.elements.dtype, read),
        "norms": state.norms if positions is None else state.norms[positions],
        "ids": Text(ids.tolist()) if is_str_ids(ids) else ids,
        **_coded_files(state),
    }
    if state.scales is not None:
        files["scales"] = state.scales if positions is None else state.scales[positions]
    entries = {
        "n_rows": count,
        "dim": dim,
        "next_id": next_id,
        "metric": coder.metric,
        "accelerate": coder.mode,
        "storage": storage_of(state.elements),
    }
    write_store(path, _KIND, files, entries)


def load_index(path: str | os.PathLike[str], mmap: bool, verify: bool) -> tuple[Snapshot, int, Coder]:
    """Return state, next id and coder of the index saved at `path`; see `fastembed.Index.load`."""

    def load(directory: str, metadata: dict[str, Any]) -> tuple[Snapshot, int, Coder]:
        count, dim, files = metadata["n_rows"], metadata["dim"], metadata["files"]
        name = os.path.join(directory, METADATA)
        metric = metadata["metric"]
        if metric not in METRICS:
            raise ValueError(f"{name}: unknown metric {metric!r}, wanted one of {METRICS}")
        mode = metadata.get("accelerate", "none")
        if mode not in ACCELERATE:
            raise ValueError(f"{name}: unknown accelerate {mode!r}, wanted one of {ACCELERATE}")
        storage = metadata.get("storage", "float32")
        if storage not in STORAGES:
            raise ValueError(f"{name}: unknown storage {storage!r}, wanted one of {STORAGES}")
        dtype = dtype_of(storage).name
        vectors = load_array(directory, files["vectors"], dtype, (count, dim), mmap=mmap, verify=verify)
        scales = None
        if storage == "int8":
            scales = load_array(directory, files["scales"], "float32", (count,), mmap=False, verify=verify)
        norms = load_array(directory, files["norms"], "float32", (count,), mmap=False, verify=verify)
        if files["ids"]["name"].endswith(".txt"):
            ids = np.empty(count, dtype=np.object_)
            ids[:] = load_lines(directory, files["ids"], count)
        else:
            ids = as_ids("ids", load_array(directory, files["ids"], "int64", (count,), mmap=False, verify=verify))
        check_distinct("ids", ids)
        state = make(Stored(np.asarray(vectors), scales), norms, ids)
        coder = Coder(metric, mode, storage)
        state.coded = _load_coded(directory, files, coder, count, dim, mmap, verify)
        if mmap and state.coded is not None:
            # The codes are read in order, of these a few rows here and there.
            _core.advise_random_reads(state.elements)
            if state.coded.arrays.residuals is not None:
                _core.advise_random_reads(state.coded.arrays.residuals)
        return state, metadata["next_id"], coder

    return load_whole(path, _KIND, load)
