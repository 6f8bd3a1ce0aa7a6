"""What the elements of an index's rows are: float32, or fewer bits that stand for float32.

Holds the storages of an `Index` by name, and the way of what users pass into one of them and back, in blocks. What an
element stands for is said at `fastembed.Index`; the conversions are in csrc/search/stored_rows.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastembed import _core
from fastembed._arrays import as_rows, row_blocks
from fastembed._engine import worker_count

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastembed._engine import KernelRows

    Float32Array = npt.NDArray[np.float32]

__all__ = [
    "STORAGES",
    "Stored",
    "as_stored",
    "dtype_of",
    "element_bytes",
    "finite_norms",
    "kernel_rows",
    "storage_of",
    "widened",
]

# NumPy has no bfloat16: its bits are kept.
_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
STORAGES = tuple(_DTYPES)


class Stored(NamedTuple):
    """Rows as an index keeps them.

    Attributes
    ----------
    elements : ndarray of float32, float16, uint16 or int8, shape (n_rows, dim)
        uint16: the bits of bfloat16.
    scales : ndarray of float32, shape (n_rows,), or None
        For int8: a row stands for its elements times its scale.
    """

    elements: npt.NDArray[Any]
    scales: Float32Array | None

    @property
    def rows(self) -> KernelRows:
        """The same for the kernels."""
        return kernel_rows(self.elements, self.scales)


def dtype_of(storage: str) -> np.dtype[Any]:
    """The dtype of the elements of this storage."""
    return _DTYPES[storage]


def storage_of(elements: npt.NDArray[Any]) -> str:
    """The storage whose elements these are."""
    return _NAMES[elements.dtype]


def element_bytes(elements: npt.NDArray[Any]) -> int:
    """Bytes that a scan reads of all these elements and their scales."""
    scales = 4 * len(elements) if elements.dtype == np.int8 else 0
    return elements.dtype.itemsize * elements.size + scales


def kernel_rows(elements: npt.NDArray[Any], scales: Float32Array | None) -> KernelRows:
    """Rows as the kernels take them, without a copy."""
    if elements.dtype == np.float32:
        return elements
    storage = storage_of(elements)
    return _core.StoredRows(storage, elements.view(np.uint16) if storage == "float16" else elements, scales)


def widened(rows: KernelRows) -> Float32Array:
    """The float32 that these rows stand for: a copy, unless they are float32."""
    return rows if isinstance(rows, np.ndarray) else _core.widen_rows(rows, worker_count(None, rows.size))


def as_stored(name: str, value: Any, storage: str, dim: int | None = None) -> Stored:
    """Return what users pass as vectors in this storage.

    Parameters
    ----------
    name : str
        What the messages call it.
    value : array_like
        See `fastembed.topk`.
    storage : {"float32", "float16", "bfloat16", "int8"}
    dim : int, optional
        Columns that are wanted. A single vector is one row then, and refused if None.

    Returns
    -------
    Stored
        Float32 rows without a copy where `as_rows` makes none. Others are converted in blocks.

    Raises
    ------
    TypeError
        The elements are no real numbers.
    ValueError
        Another number of columns or dimensions; in another storage than float32 also NaN, infinity, or a number beyond
        its range.
    """
    if storage == "float32":
        matrix, single = as_rows(name, value)
        _check_shape(name, matrix.shape, single, dim)
        return Stored(matrix, None)
    shape, single, blocks = row_blocks(name, value)
    _check_shape(name, shape, single, dim)
    elements = np.empty(shape, dtype=_DTYPES[storage])
    scales = np.empty(shape[0], dtype=np.float32) if storage == "int8" else None
    bits = elements.view(np.uint16) if storage == "float16" else elements
    for begin, block in blocks:
        part = slice(begin, begin + len(block))
        workers = worker_count(None, block.size)
        row = _core.narrow_rows(block, storage, bits[part], None if scales is None else scales[part], workers)
        if row >= 0:
            _refuse(name, block[row], begin + row, storage)
    return Stored(elements, scales)


def _check_shape(name: str, shape: tuple[int, ...], single: bool, dim: int | None) -> None:
    if dim is None and single:
        raise ValueError(f"{name} must have shape (n_rows, dim), got 1-D shape ({shape[1]},)")
    if dim is not None and shape[1] != dim:
        raise ValueError(f"{name} has dim {shape[1]} but index has dim {dim}")


def _refuse(name: str, vector: Float32Array, row: int, storage: str) -> None:
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} holds NaN or infinity in row {row}")
    greatest = vector[np.argmax(np.abs(vector))]
    raise ValueError(f"{name} holds {greatest} in row {row}, which is beyond the range of {storage}")


def finite_norms(name: str, rows: KernelRows) -> Float32Array:
    """Norms of the rows; a row with NaN or infinity is a ValueError."""
    norms: Float32Array = _core.row_norms(rows, worker_count(None, rows.size))
    bad = np.isnan(norms)
    if bad.any():
        raise ValueError(f"{name} holds NaN or infinity in row {int(np.argmax(bad))}")
    return norms
