"""The codes that an `Index` keeps beside its vectors, of 8 bits or bfloat16, so that a search need look at few vectors.

Holds which rows have codes and how they are kept as rows are added; what a code is, and why no row is lost, is told in
docs/exact-search.md. Rows are coded in whole groups of eight: the last few of an index have no codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
    Groups = tuple[Float32Array, ...]
    Bytes = npt.NDArray[np.uint8]
    #: Residuals, coarse codes or quarters, and their errors.
    Parts = tuple[Bytes, Float32Array]
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
    "nibble_stride_of",
    "plan_of",
    "stride_of",
]

ACCELERATE = ("auto", "none", "int8", "bf16")
GROUP = 8  # rows that share a scale
CODE_SLACK = 64  # bytes behind the last code that a search may read
#: Bits of an element of a row, by kind of code.
CODE_BITS = {"int8": 8, "bf16": 16}
_PADDING = 4
_NIBBLE_BITS, _QUARTER_BITS, _PART_BLOCK = 4, 2, 64  # of an element; elements
_TERMS = 3  # of a group of codes, before those of residuals, coarse codes and quarters
_PARTIAL_ROWS = 4096  # that each worker of a search for the k best meets by whole codes first (kPartialAfter)
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
        multiplies at once; for one or two queries, where memory is the limit, 4 (the upper half of each code) and 8,
        or, of vectors of 64 elements or fewer, 8 and 16; for 3 to 32 queries 6 and 8 with AMX, where codes take 64 MiB
        or more. (So do 8 bits of the first 4,096 rows of every worker, and of stretches where fewer leave too many
        candidates.) "bf16": 16, and 16 where the instruction set has
        products of bfloat16, else 32 (always where memory is the limit). In float32 those that the
        rows are stored in, and 32. A search that finds codes of no use on its way (all rows nearly equal, say) goes on
        in float32.
    coded_rows : int
        Rows that have codes. The others, fewer than eight in most cases, are met in float32.
    scan_bytes : int
        Read for all rows, once for a batch of queries.
    residual_bits : int
        Bits of an element that are read next, of candidates alone: 4 that its code has left over, or, behind a scan of
        4 or 6, these and the rest of the code; 0 where there are none: in float32, with "bf16", and where vectors are
        not stored in float32.
    """

    scan: str
    row_bits: int
    query_bits: int
    coded_rows: int
    scan_bytes: int
    residual_bits: int


def plan_of(state: Snapshot, mode: str, k: int, n_queries: int) -> Plan:
    """The plan of a search for the k best of so many queries, in an index of this ``accelerate``."""
    dim = state.elements.shape[1]
    coded = state.coded
    if coded is None or (mode == "auto" and not codes_pay(min(k, state.live_count), n_queries, len(state.elements))):
        return Plan("float32", 8 * state.elements.dtype.itemsize, 32, 0, element_bytes(state.elements), 0)
    row_bits = _core.code_row_bits(coded.core, n_queries) if coded.rows > _PARTIAL_ROWS else CODE_BITS[coded.kind]
    stride = coded.stride if row_bits >= 8 else nibble_stride_of(dim) * row_bits // _NIBBLE_BITS
    scan_bytes = coded.rows * stride + element_bytes(state.elements[coded.rows :])
    query_bits = 8 if row_bits == _NIBBLE_BITS else _core.code_query_bits(n_queries, dim, coded.kind)
    kept_bits = CODE_BITS[coded.kind] + (_NIBBLE_BITS if coded.refines else 0)
    return Plan(coded.kind, row_bits, query_bits, coded.rows, scan_bytes, kept_bits - row_bits)


class CodeArrays(NamedTuple):
    """The codes of rows.

    Attributes
    ----------
    codes : ndarray of uint8, shape (capacity * stride + 64,)
        Of either kind: bfloat16 by its bytes.
    groups : tuple of ndarray of float32, shape (capacity / 8,)
        Scale, length and error of each group; then the error that residuals leave, that of coarse codes and that of
        medium ones, where there are these.
    squares : ndarray of float32, shape (capacity,), or None
        For ``"l2"``.
    residuals : ndarray of uint8, shape (capacity * nibble_stride,), or None
        What codes of 8 bits leave over, in 4 bits more.
    coarse : ndarray of uint8, shape (capacity * nibble_stride + 64,), or None
        The upper halves of codes of 8 bits, for single queries, of vectors that have residuals and are not short.
    quarters : ndarray of uint8, shape (capacity * nibble_stride / 2,), or None
        The two bits below these, which make medium codes of them, for a few queries at once; where there are coarse
        codes.
    """

    codes: Bytes
    groups: Groups
    squares: Float32Array | None
    residuals: Bytes | None = None
    coarse: Bytes | None = None
    quarters: Bytes | None = None

    def parts(self) -> tuple[Parts | None, Parts | None, Parts | None]:
        """Residuals, coarse codes and quarters, each with their errors."""
        return (
            None if self.residuals is None else (self.residuals, self.groups[_TERMS]),
            None if self.coarse is None else (self.coarse, self.groups[_TERMS + 1]),
            None if self.quarters is None else (self.quarters, self.groups[_TERMS + 2]),
        )

    def each(self) -> list[npt.NDArray[Any]]:
        """All that there are."""
        rest = self.squares, self.residuals, self.coarse, self.quarters
        return [self.codes, *self.groups, *(array for array in rest if array is not None)]


class CodedRows:
    """Codes of the first rows of an index. Immutable, but for what `extended` writes behind the last row.

    Attributes
    ----------
    kind : {"int8", "bf16"}
    metric : str
    mean : ndarray of float32, shape (dim,)
        What is taken off every row before it is coded.
    arrays : CodeArrays
    rows : int
        Rows that have codes.
    built : int
        Rows that there were when the mean was found.
    reads_partial : bool
        Whether single queries meet coarse codes, and a few at once medium ones. Not where codes, residuals and these
        are mapped and too large to stay in memory: the candidates' codes would come from the disk one by one.
    core : _core.IndexCodes
        The same, for the kernels.
    """

    __slots__ = ("arrays", "built", "core", "kind", "mean", "metric", "reads_partial", "rows")

    def __init__(
        self,
        kind: str,
        metric: str,
        mean: Float32Array,
        arrays: CodeArrays,
        rows: int,
        built: int,
        reads_partial: bool = True,
    ) -> None:
        self.kind, self.metric, self.mean, self.arrays = kind, metric, mean, arrays
        self.rows, self.built = rows, built
        self.reads_partial = reads_partial and arrays.coarse is not None
        scales, lengths, errors = arrays.groups[:_TERMS]
        of_groups = scales, lengths, errors, arrays.squares
        residuals, *partial = arrays.parts()
        read = partial if self.reads_partial else (None, None)
        self.core = _core.IndexCodes(metric, mean, arrays.codes, *of_groups, rows, kind, residuals, *read)

    @property
    def stride(self) -> int:
        """Bytes a row."""
        return stride_of(self.kind, len(self.mean))

    @property
    def refines(self) -> bool:
        """Whether there are residuals."""
        return self.arrays.residuals is not None

    def used(self) -> CodeArrays:
        """The arrays without spare capacity."""
        codes, groups, squares, residuals, coarse, quarters = self.arrays
        nibbles = self.rows * nibble_stride_of(len(self.mean))
        return CodeArrays(
            codes[: self.rows * self.stride + CODE_SLACK],
            tuple(group[: self.rows // GROUP] for group in groups),
            None if squares is None else squares[: self.rows],
            None if residuals is None else residuals[:nibbles],
            None if coarse is None else coarse[: nibbles + CODE_SLACK],
            None if quarters is None else quarters[: nibbles // 2],
        )

    @property
    def nbytes(self) -> int:
        """Bytes of memory, capacity included."""
        return sum(int(array.nbytes) for array in self.arrays.each())


def stride_of(kind: str, dim: int) -> int:
    """Bytes that the codes of a row take."""
    return -(-dim * CODE_BITS[kind] // 8 // _PADDING) * _PADDING


def nibble_stride_of(dim: int) -> int:
    """Bytes that the residuals of a row take, and its coarse codes."""
    return -(-dim // _PART_BLOCK) * _PART_BLOCK * _NIBBLE_BITS // 8


def _parts_wanted(refines: bool, dim: int) -> int:
    """How many of residuals, coarse codes and quarters: shorter rows are read as fast by whole codes."""
    return (3 if dim > _PART_BLOCK else 1) if refines else 0


def _room(kind: str, metric: str, dim: int, n_parts: int, capacity: int) -> CodeArrays:
    codes = _core.code_buffer(capacity * stride_of(kind, dim) + CODE_SLACK)
    groups = tuple(np.empty(capacity // GROUP, dtype=np.float32) for _ in range(_TERMS + n_parts))
    squares = np.empty(capacity, dtype=np.float32) if metric == "l2" else None
    nibbles = capacity * nibble_stride_of(dim)
    sizes = nibbles, nibbles + CODE_SLACK, nibbles // 2
    return CodeArrays(codes, groups, squares, *(_core.code_buffer(size) for size in sizes[:n_parts]))


def _code(coded: CodedRows, read: Reader, begin: int, end: int) -> None:
    """Code these rows, of which there are whole groups, into the room that `coded` has."""
    arrays = coded.arrays
    scales, lengths, errors = arrays.groups[:_TERMS]
    into = coded.mean, arrays.codes, scales, lengths, errors, arrays.squares
    for first in range(begin, end, _BLOCK_ROWS):
        vectors, norms = read(first, min(first + _BLOCK_ROWS, end))
        workers = worker_count(None, 64 * vectors.size)
        _core.code_rows(vectors, norms, coded.metric, *into, first, workers, coded.kind, *arrays.parts())
    # What is read behind the last row, and saved, is to be the same each time.
    arrays.codes[end * coded.stride :][:CODE_SLACK] = 0
    if arrays.coarse is not None:
        arrays.coarse[end * nibble_stride_of(len(coded.mean)) :][:CODE_SLACK] = 0


def code_blocks(kind: str, metric: str, mean: Float32Array, refines: bool, read: Reader, n_rows: int) -> CodedRows:
    """Code the first of `n_rows` rows that are read in blocks, as many as make whole groups."""
    rows = n_rows // GROUP * GROUP
    room = _room(kind, metric, len(mean), _parts_wanted(refines, len(mean)), rows)
    coded = CodedRows(kind, metric, mean, room, rows, n_rows)
    _code(coded, read, 0, rows)
    return coded


def _extended(coded: CodedRows, vectors: KernelRows, norms: Float32Array) -> CodedRows:
    """Codes of all whole groups of these rows, the first of which are those of `coded`."""
    rows = len(vectors) // GROUP * GROUP
    if rows == coded.rows:
        return coded
    arrays = coded.arrays
    if rows > len(arrays.groups[0]) * GROUP or not arrays.codes.flags.writeable:
        capacity = max(rows, int(coded.rows * _GROWTH) // GROUP * GROUP)
        n_parts = sum(part is not None for part in coded.arrays.parts())
        arrays = _room(coded.kind, coded.metric, len(coded.mean), n_parts, capacity)
        used = coded.used()
        for new, old in zip(arrays.each(), used.each(), strict=True):
            new[: len(old)] = old
    longer = CodedRows(coded.kind, coded.metric, coded.mean, arrays, rows, coded.built)
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
    refines : bool
        Whether codes come with residuals, and of vectors that are not short by their upper halves too: those of 8 bits
        do, of vectors in float32. Whoever stores these in fewer bits is short of memory.
    """

    __slots__ = ("kind", "metric", "mode", "refines")

    def __init__(self, metric: str, mode: str, storage: str) -> None:
        self.metric = metric
        self.mode = check_choice("accelerate", mode, ACCELERATE)
        self.kind = "bf16" if mode == "bf16" else "int8"
        self.refines = self.kind == "int8" and storage == "float32"

    def wants(self, n_rows: int, dim: int) -> bool:
        """Whether an index of this size is to have codes."""
        if self.mode == "none" or dim > _MOST_DIM or n_rows < GROUP:
            return False
        return self.mode in CODE_BITS or (n_rows >= _AUTO_ROWS and dim >= _AUTO_DIM)

    def _coded(self, vectors: KernelRows, norms: Float32Array) -> CodedRows:
        def read(begin: int, end: int) -> tuple[KernelRows, Float32Array]:
            return vectors[begin:end], norms[begin:end]

        mean = _core.sample_mean(vectors, self.metric)
        return code_blocks(self.kind, self.metric, mean, self.refines, read, len(vectors))

    def updated(self, coded: CodedRows | None, vectors: KernelRows, norms: Float32Array) -> CodedRows | None:
        """The codes of these rows, the first of which `coded` has, if it is given."""
        if not self.wants(*vectors.shape):
            return None
        # Twice as many rows may have another center.
        if coded is None or len(vectors) >= 2 * coded.built:
            return self._coded(vectors, norms)
        return _extended(coded, vectors, norms)
