"""The codes that an `Index` keeps beside its vectors, of 8 bits or bfloat16, so that a search need look at few vectors.

Holds which rows have codes and how they are kept as rows are added; what a code is, and why no row is lost, is told in
docs/exact-search.md. Rows are coded in whole groups of eight: the last few of an index have no codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastembed import _core
from fastembed._engine import codes_pay, worker_count
from fastembed._index_elements import element_bytes
from fastembed._validate import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastembed._engine import KernelRows
    from fastembed._index_state import Snapshot

    Float32Array = npt.NDArray[np.float32]
    Groups = tuple[Float32Array, Float32Array, Float32Array]
    #: ``read(begin, end)`` returns vectors and norms of these rows.
    Reader = Callable[[int, int], tuple[KernelRows, Float32Array]]

__all__ = [
    "ACCELERATE",
    "CODE_BITS",
    "CODE_SLACK",
    "GROUP",
    "CodedRows",
    "Coder",
    "Plan",
    "code_blocks",
    "plan_of",
    "stride_of",
]

ACCELERATE = ("auto", "none", "int8", "bf16")
GROUP = 8  # rows that share a scale
CODE_SLACK = 64  # bytes behind the last code that a search may read
#: Bits of an element of a row, by kind of code.
CODE_BITS = {"int8": 8, "bf16": 16}
_PADDING = 4
#: From here on "auto" makes codes: below, all vectors stay in the processor's caches, or are so short that float32 is
#: as fast. (csrc/search/coded_blocks.cpp has the limits of codes made on the way, which take making each time.)
_AUTO_ROWS, _AUTO_DIM = 4096, 32
_MOST_DIM = 65536
_GROWTH = 1.5
_BLOCK_ROWS = 1 << 16


class Plan(NamedTuple):
    """What a search of an `Index` reads.

    Attributes
    ----------
    scan : {"int8", "bf16", "float32"}
        What all rows are looked at in. Rows that may be among the results are then scored by the definition.
    row_bits, query_bits : int
        Bits of an element of a row and of a query in this scan. "int8": 8, and as many as the instruction set
        multiplies at once (16 where memory is the limit anyway). "bf16": 16, and 16 where the instruction set has
        products of bfloat16, else 32 (always where memory is the limit). In float32 those that the
        rows are stored in, and 32. A search that finds codes of no use on its way (all rows nearly equal, say) goes on
        in float32.
    coded_rows : int
        Rows that have codes. The others, fewer than eight in most cases, are met in float32.
    scan_bytes : int
        Read for all rows, once for a batch of queries.
    """

    scan: str
    row_bits: int
    query_bits: int
    coded_rows: int
    scan_bytes: int


def plan_of(state: Snapshot, mode: str, k: int, n_queries: int) -> Plan:
    """The plan of a search for the k best of so many queries, in an index of this ``accelerate``."""
    dim = state.elements.shape[1]
    coded = state.coded
    if coded is None or (mode == "auto" and not codes_pay(min(k, state.live_count), n_queries, len(state.elements))):
        return Plan("float32", 8 * state.elements.dtype.itemsize, 32, 0, element_bytes(state.elements))
    scan_bytes = coded.rows * coded.stride + element_bytes(state.elements[coded.rows :])
    query_bits = _core.code_query_bits(n_queries, dim, coded.kind)
    return Plan(coded.kind, CODE_BITS[coded.kind], query_bits, coded.rows, scan_bytes)


class CodedRows:
    """Codes of the first rows of an index. Immutable, but for what `extended` writes behind the last row.

    Attributes
    ----------
    kind : {"int8", "bf16"}
    metric : str
    mean : ndarray of float32, shape (dim,)
        What is taken off every row before it is coded.
    codes : ndarray of uint8, shape (capacity * stride + 64,)
        Of either kind: bfloat16 by its bytes.
    groups : tuple of three ndarray of float32, shape (capacity / 8,)
        Scale, length and error of each group.
    squares : ndarray of float32, shape (capacity,), or None
        For ``"l2"``.
    rows : int
        Rows that have codes.
    built : int
        Rows that there were when the mean was found.
    core : _core.IndexCodes
        The same, for the kernels.
    """

    __slots__ = ("built", "codes", "core", "groups", "kind", "mean", "metric", "rows", "squares")

    def __init__(
        self,
        kind: str,
        metric: str,
        mean: Float32Array,
        codes: npt.NDArray[np.uint8],
        groups: Groups,
        squares: Float32Array | None,
        rows: int,
        built: int,
    ) -> None:
        self.kind, self.metric, self.mean = kind, metric, mean
        self.codes, self.groups, self.squares = codes, groups, squares
        self.rows, self.built = rows, built
        self.core = _core.IndexCodes(metric, mean, codes, *groups, squares, rows, kind)

    @property
    def stride(self) -> int:
        """Bytes a row."""
        return stride_of(self.kind, len(self.mean))

    @property
    def nbytes(self) -> int:
        """Bytes of memory, capacity included."""
        squares = 0 if self.squares is None else self.squares.nbytes
        return int(self.codes.nbytes + sum(group.nbytes for group in self.groups) + squares)


def stride_of(kind: str, dim: int) -> int:
    """Bytes that the codes of a row take."""
    return -(-dim * CODE_BITS[kind] // 8 // _PADDING) * _PADDING


def _room(kind: str, metric: str, dim: int, capacity: int) -> tuple[npt.NDArray[np.uint8], Groups, Float32Array | None]:
    scales, lengths, errors = (np.empty(capacity // GROUP, dtype=np.float32) for _ in range(3))
    squares = np.empty(capacity, dtype=np.float32) if metric == "l2" else None
    return _core.code_buffer(capacity * stride_of(kind, dim) + CODE_SLACK), (scales, lengths, errors), squares


def _code(coded: CodedRows, read: Reader, begin: int, end: int) -> None:
    """Code these rows, of which there are whole groups, into the room that `coded` has."""
    for first in range(begin, end, _BLOCK_ROWS):
        vectors, norms = read(first, min(first + _BLOCK_ROWS, end))
        workers = worker_count(None, 64 * vectors.size)
        into = coded.mean, coded.codes, *coded.groups, coded.squares
        _core.code_rows(vectors, norms, coded.metric, *into, first, workers, coded.kind)


def code_blocks(kind: str, metric: str, mean: Float32Array, read: Reader, n_rows: int, built: int) -> CodedRows:
    """Code the first of `n_rows` rows that are read in blocks, as many as make whole groups."""
    rows = n_rows // GROUP * GROUP
    codes, groups, squares = _room(kind, metric, len(mean), rows)
    coded = CodedRows(kind, metric, mean, codes, groups, squares, rows, built)
    _code(coded, read, 0, rows)
    return coded


def _build(kind: str, metric: str, vectors: KernelRows, norms: Float32Array) -> CodedRows:
    mean = _core.sample_mean(vectors, metric)
    return code_blocks(kind, metric, mean, lambda a, b: (vectors[a:b], norms[a:b]), len(vectors), len(vectors))


def _extended(coded: CodedRows, vectors: KernelRows, norms: Float32Array) -> CodedRows:
    """Codes of all whole groups of these rows, the first of which are those of `coded`."""
    rows = len(vectors) // GROUP * GROUP
    if rows == coded.rows:
        return coded
    codes, groups, squares = coded.codes, coded.groups, coded.squares
    if rows > len(groups[0]) * GROUP or not codes.flags.writeable:
        capacity = max(rows, int(coded.rows * _GROWTH) // GROUP * GROUP)
        codes, groups, squares = _room(coded.kind, coded.metric, len(coded.mean), capacity)
        used = coded.rows * coded.stride
        codes[:used] = coded.codes[:used]
        for new, old in zip(groups, coded.groups, strict=True):
            new[: coded.rows // GROUP] = old[: coded.rows // GROUP]
        if squares is not None and coded.squares is not None:
            squares[: coded.rows] = coded.squares[: coded.rows]
    longer = CodedRows(coded.kind, coded.metric, coded.mean, codes, groups, squares, rows, coded.built)
    _code(longer, lambda a, b: (vectors[a:b], norms[a:b]), coded.rows, rows)
    return longer


class Coder:
    """Whether, and for which rows, an index keeps codes.

    Attributes
    ----------
    metric : str
    mode : {"auto", "none", "int8", "bf16"}
    kind : {"int8", "bf16"}
        Of the codes, where there are any.
    """

    __slots__ = ("kind", "metric", "mode")

    def __init__(self, metric: str, mode: str) -> None:
        self.metric = metric
        self.mode = check_choice("accelerate", mode, ACCELERATE)
        self.kind = "bf16" if mode == "bf16" else "int8"

    def wants(self, n_rows: int, dim: int) -> bool:
        """Whether an index of this size is to have codes."""
        if self.mode == "none" or dim > _MOST_DIM or n_rows < GROUP:
            return False
        return self.mode in CODE_BITS or (n_rows >= _AUTO_ROWS and dim >= _AUTO_DIM)

    def updated(self, coded: CodedRows | None, vectors: KernelRows, norms: Float32Array) -> CodedRows | None:
        """The codes of these rows, the first of which `coded` has, if it is given."""
        if not self.wants(*vectors.shape):
            return None
        # Twice as many rows may have another center.
        if coded is None or len(vectors) >= 2 * coded.built:
            return _build(self.kind, self.metric, vectors, norms)
        return _extended(coded, vectors, norms)
