"""What users pass as vectors, as float32 matrices that the kernels can read.

Holds the conversion of every kind of input: arrays of any layout and of the dtypes below, lists, objects with
``__array__`` or ``__dlpack__``, torch tensors, memory maps and `WordVectors`. The common case, a float32 array whose
rows are contiguous, passes through without a copy in a fraction of a microsecond.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._validate import check_unmasked
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]

__all__ = ["LOGGED_COPY_BYTES", "as_matrix", "as_output", "as_rows", "check_same_dim", "row_blocks", "to_float32"]

_log = logging.getLogger("fastembed")
_FLOAT32 = np.dtype(np.float32)
_NDARRAY = np.ndarray  # a name of this module is found sooner
#: Copies of at least this many bytes are logged.
LOGGED_COPY_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 21
#: Whole numbers up to here are exact in float32.
_EXACT_INTEGER = 1 << 24


def as_rows(name: str, value: Any) -> tuple[Float32Array, bool]:
    """Return `value` as a matrix the kernels can read, and whether it was a single vector.

    Parameters
    ----------
    name : str
        What the messages call it.
    value : array_like
        Of one or two dimensions. See `fastembed.topk` for what is accepted.

    Returns
    -------
    matrix : ndarray of float32, shape (n_rows, dim)
        Its inner stride is 4 bytes, its row stride a positive multiple of 4. `value` itself where it is so already.
    single : bool
        True if `value` had one dimension; the matrix then has one row.

    Raises
    ------
    TypeError
        The elements are no real numbers, or `value` lies on another device.
    ValueError
        It has no columns, another number of dimensions, or a number that float32 cannot hold.
    """
    array = value if type(value) is _NDARRAY and value.dtype == _FLOAT32 else _as_float32(name, value)
    strides = array.strides
    if len(strides) == 2:
        if strides[1] == 4 and strides[0] > 0 and not strides[0] & 3 and array.flags.aligned and array.shape[1]:
            return array, False
    elif len(strides) == 1 and strides[0] == 4 and array.flags.aligned and array.size:
        return array.reshape(1, -1), True
    _check_dimensions(name, array)
    if array.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one column, got shape {array.shape}")
    _log_copy(name, array, "its rows are not contiguous")
    # A slice of one row more: an array without rows would have strides of zero.
    copy = np.empty((len(array) + 1 if array.ndim == 2 else 2, array.shape[-1]), dtype=np.float32)[:-1]
    copy[...] = array
    return copy, array.ndim == 1


def as_matrix(name: str, value: Any) -> Float32Array:
    """Return `value` as `as_rows` does; a single vector is a ValueError."""
    matrix, single = as_rows(name, value)
    if single:
        raise ValueError(f"{name} must have shape (n_rows, dim), got 1-D shape ({matrix.shape[1]},)")
    return matrix


def row_blocks(name: str, value: Any) -> tuple[tuple[int, int], bool, Iterator[tuple[int, Float32Array]]]:
    """Return `value` in blocks that `as_rows` would make of it, so that no copy of all rows is made.

    Parameters
    ----------
    name : str
    value : array_like

    Returns
    -------
    shape : tuple of (int, int)
    single : bool
        True if `value` had one dimension.
    blocks : iterator of (int, ndarray of float32)
        Each block with its first row.

    Raises
    ------
    TypeError, ValueError
        As `as_rows`; a number that float32 cannot hold when its block is reached.
    """
    array = _real_array(name, value)
    _check_dimensions(name, array)
    if array.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one column, got shape {array.shape}")
    rows = array.reshape(-1, array.shape[-1])
    return rows.shape, array.ndim == 1, _blocks_of(name, rows)


def _blocks_of(name: str, rows: npt.NDArray[Any]) -> Iterator[tuple[int, Float32Array]]:
    if rows.dtype == _FLOAT32 and rows.strides[1] == 4 and (len(rows) < 2 or rows.strides[0] > 0):
        yield 0, as_rows(name, rows)[0]
        return
    step = _block_rows(rows.shape[1])
    for begin in range(0, len(rows), step):
        given = rows[begin : begin + step]
        block = np.empty(given.shape, dtype=np.float32)
        _convert_block(name, given, block, begin)
        yield begin, block


def check_same_dim(name: str, matrix: Float32Array, other_name: str, other: Float32Array) -> None:
    """Raise ValueError unless both matrices have the same number of columns."""
    if matrix.shape[1] != other.shape[1]:
        raise ValueError(f"{name} has dim {matrix.shape[1]} but {other_name} has dim {other.shape[1]}")


def as_output(out: Any, shape: tuple[int, ...], inputs: Sequence[tuple[str, Float32Array]]) -> Float32Array:
    """Return `out` if it is a writable float32 array of `shape` that shares no memory with `inputs`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, got {type(out).__name__}")
    if out.dtype != _FLOAT32:
        raise TypeError(f"out must have dtype float32, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got shape {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    for name, matrix in inputs:
        if _shares_memory(out, matrix):
            raise ValueError(f"out shares memory with {name}: results would overwrite what is still to be read")
    return out


def _shares_memory(out: Float32Array, matrix: Float32Array) -> bool:
    """Whether they have an element in common; parts of one array that lie side by side have none."""
    if not np.may_share_memory(out, matrix):
        return False
    try:
        return np.shares_memory(out, matrix, max_work=100_000)  # type: ignore[arg-type]
    except RuntimeError:  # too hard to say, for layouts that nobody has
        return True


def _check_dimensions(name: str, array: npt.NDArray[Any]) -> None:
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must be a vector or a matrix of rows, got {array.ndim}-D shape {array.shape}")


def _log_copy(name: str, array: npt.NDArray[Any], reason: str) -> None:
    size = array.size * 4
    if size >= LOGGED_COPY_BYTES:
        _log.info("%s is copied to %d MiB of float32, because %s", name, size >> 20, reason)


def _as_float32(name: str, value: Any) -> Float32Array:
    """`value` as a float32 array of any layout, converted if need be."""
    array = _real_array(name, value)
    if array.dtype == _FLOAT32:
        return array
    _log_copy(name, array, f"its dtype is {array.dtype}")
    return to_float32(name, array)


def _real_array(name: str, value: Any) -> npt.NDArray[Any]:
    """`value` as an array of real numbers, its dtype unchanged; unless that is float32, of one or two dimensions."""
    array = _as_array(name, value)
    dtype = array.dtype
    if dtype == _FLOAT32:
        return array
    if dtype.kind in "biu" or dtype.kind == "f" or dtype.name == "bfloat16":
        _check_dimensions(name, array)
        if array.size == 0 and array.ndim == 1 and isinstance(value, (list, tuple)):
            raise ValueError(f"{name} is empty and has no dim: no vectors are np.empty((0, dim))")
        return array
    raise TypeError(f"{name} must hold real numbers, got dtype {dtype}")


def _as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """`value` as a plain ndarray (memory maps too, whose subclass makes every view slow), its dtype unchanged."""
    if isinstance(value, WordVectors):
        return np.asarray(value.vectors)
    if isinstance(value, np.ndarray):
        check_unmasked(name, value)
        return np.asarray(value)
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must hold real numbers, got {type(value).__name__}")
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = _torch_on_cpu(name, value)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} cannot be read as an array: {error}") from error


def _torch_on_cpu(name: str, tensor: Any) -> Any:
    """A torch tensor without its gradient, in a dtype that NumPy knows."""
    if tensor.device.type != "cpu":
        raise TypeError(f"{name} is a tensor on the device {tensor.device}, wanted one on the CPU: use {name}.cpu()")
    tensor = tensor.detach()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def to_float32(name: str, array: npt.NDArray[Any]) -> Float32Array:
    """`array` of one or two dimensions as new C-contiguous float32, in blocks of rows.

    Raises
    ------
    ValueError
        It holds a finite number beyond the range of float32, or a whole number that float32 cannot hold.
    """
    rows = array if array.ndim == 2 else array.reshape(1, -1)
    out = np.empty(rows.shape, dtype=np.float32)
    step = _block_rows(rows.shape[1])
    for begin in range(0, len(rows), step):
        _convert_block(name, rows[begin : begin + step], out[begin : begin + step], begin)
    return out.reshape(array.shape)


def _block_rows(dim: int) -> int:
    return max(1, _BLOCK_BYTES // max(1, 4 * dim))


def _convert_block(name: str, given: npt.NDArray[Any], converted: Float32Array, begin: int) -> None:
    """Write `given`, the rows from `begin` on, to `converted`."""
    kind = given.dtype.kind
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        converted[...] = given
    if kind == "b" or (kind in "iu" and given.dtype.itemsize <= 2):
        return
    if kind in "iu":
        _check_integers(name, given, begin)
    elif np.isinf(converted).any():
        _check_overflow(name, given, converted, begin)


def _check_overflow(name: str, given: npt.NDArray[Any], converted: Float32Array, begin: int) -> None:
    wide = given if given.dtype.kind == "f" else given.astype(np.float64)
    bad = np.argwhere(np.isinf(converted) & np.isfinite(wide))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} holds {given[row, column]} in row {begin + row}, which is beyond the range of float32"
        )


def _check_integers(name: str, given: npt.NDArray[Any], begin: int) -> None:
    large = given > _EXACT_INTEGER
    if given.dtype.kind == "i":
        large |= given < -_EXACT_INTEGER
    for row, column in np.argwhere(large):
        number = int(given[row, column])
        if int(np.float32(number)) != number:
            raise ValueError(
                f"{name} holds {number} in row {begin + row}, which float32 cannot hold exactly: "
                "convert it yourself if rounding is meant"
            )
