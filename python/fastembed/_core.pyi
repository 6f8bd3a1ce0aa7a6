from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

__version__: str
compiler: str
sanitizers: str
cuda_reason: str

class EpochProgress(TypedDict):
    token_count: int
    center_count: int
    positive_count: int
    loss: float
    learning_rate: float

class PausePoint(EpochProgress):
    epoch: int

class Trainer:
    def __init__(
        self,
        *,
        ids: NDArray[np.int32],
        offsets: NDArray[np.int64],
        counts: NDArray[np.int64],
        vector_size: int,
        sg: bool,
        negative_sharing: str,
        cbow_mean: bool,
        shrink_windows: bool,
        window: int,
        negative: int,
        epochs: int,
        alpha: float,
        min_alpha: float,
        sample: float,
        ns_exponent: float,
        seed: int,
        max_sentence_length: int,
        precision: str = "float32",
        corpus_counts: NDArray[np.int64] | None = None,
        deterministic: bool = False,
    ) -> None: ...
    def continue_from(
        self, rows: NDArray[np.int32], vectors: NDArray[np.float32], output_vectors: NDArray[np.float32] | None = None
    ) -> None: ...
    def run_epoch(
        self,
        epoch: int,
        workers: int,
        on_tick: Callable[[EpochProgress], None] | None = None,
        start: EpochProgress | None = None,
        seconds: float | None = None,
    ) -> EpochProgress: ...
    @property
    def round_tiles(self) -> int: ...
    @property
    def most_workers(self) -> int: ...
    @property
    def pause_point(self) -> PausePoint | None: ...
    def copy_rows(self, output: bool, begin: int, end: int) -> NDArray[np.float32]: ...
    def copy_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def take_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

def active_isa() -> str: ...
def active_kernels() -> dict[str, str]: ...
def available_isas() -> list[str]: ...
def compiled_isas() -> list[str]: ...
def current_cpu() -> int: ...
def default_worker_count() -> int: ...
def kernel_cbow_window_f32(
    isa: str,
    input: NDArray[np.float32],
    output: NDArray[np.float32],
    contexts: Sequence[int],
    targets: Sequence[int],
    learning_rate: float,
    hidden_scale: float,
    gradient_scale: float,
) -> float: ...
def kernel_dot_f32(isa: str, a: NDArray[np.float32], b: NDArray[np.float32]) -> float: ...
def kernel_fma_peak_f32(isa: str, rounds: int) -> float: ...
def kernel_code_peak(isa: str, rounds: int) -> float: ...
def kernel_sgns_window_f32(
    isa: str,
    input: NDArray[np.float32],
    output: NDArray[np.float32],
    contexts: Sequence[int],
    targets: Sequence[int],
    learning_rate: float,
) -> float: ...
def kernel_sigmoid_f32(isa: str, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def leave_cpu(cpu: int) -> None: ...
def pool_thread_count() -> int: ...
def retire_idle_threads() -> None: ...
def select_isa(name: str) -> None: ...
def set_default_worker_count(workers: int) -> None: ...
def usable_cpu_count() -> int: ...

class CorpusEncoder:
    def __init__(
        self,
        *,
        workers: int | None = None,
        errors: str = "strict",
        max_vocab_size: int = 40000000,
        memory_budget: int = 2147483648,
        spool_directory: str = "/tmp",
        chunk_bytes: int = 1048576,
        chunks_per_round: int = 64,
        break_at_dropped: bool = False,
    ) -> None: ...
    def add_files(self, paths: list[bytes], on_progress: Callable[[int], None] | None = None) -> None: ...
    def add_bytes(
        self,
        block: bytes | bytearray | memoryview,
        source: str,
        last: bool,
        on_progress: Callable[[int], None] | None = None,
    ) -> None: ...
    def add_tokens(self, sentences: Iterator[Any], max_tokens: int) -> bool: ...
    def add_integers(self, ids: NDArray[Any], offsets: NDArray[np.int64]) -> None: ...
    def finish(
        self,
        min_count: int,
        max_final_vocab: int | None = None,
        known_words: list[str] = ...,
        known_counts: NDArray[np.int64] | None = None,
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], dict[str, int]]: ...
    @property
    def bytes_done(self) -> int: ...
    @property
    def sentences_given(self) -> int: ...

def kernel_token_edges_u8(
    isa: str, text: bytes | NDArray[np.uint8], piece_blocks: int
) -> tuple[NDArray[np.uint32], bool, bool]: ...
def count_phrases(
    *,
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
    train_words: int,
    min_count: int,
    threshold: float,
    workers: int,
    memory_budget: int,
    chunk_tokens: int = 65536,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]: ...

class PhraseBook:
    def __init__(
        self, *, words: Sequence[str], first: NDArray[np.int32], second: NDArray[np.int32], delimiter: str
    ) -> None: ...

class PhraseStream:
    def __init__(self, *, book: PhraseBook, workers: int, chunk_bytes: int = 262144) -> None: ...
    def feed(self, block: bytes, last: bool) -> bytes: ...

class StoredRows:
    def __init__(self, storage: str, elements: NDArray[Any], scales: NDArray[np.float32] | None = None) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: slice | NDArray[np.int64]) -> StoredRows: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def size(self) -> int: ...

def narrow_rows(
    x: NDArray[np.float32], storage: str, elements: NDArray[Any], scales: NDArray[np.float32] | None, workers: int = 1
) -> int: ...
def widen_rows(rows: StoredRows, workers: int = 1) -> NDArray[np.float32]: ...

# Residuals, coarse codes or quarters, and their errors.
_CodeParts: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]

class IndexCodes:
    def __init__(
        self,
        metric: str,
        mean: NDArray[np.float32],
        codes: NDArray[np.uint8],
        scales: NDArray[np.float32],
        lengths: NDArray[np.float32],
        errors: NDArray[np.float32],
        squares: NDArray[np.float32] | None,
        rows: int,
        kind: str = "int8",
        residuals: _CodeParts | None = None,
        coarse: _CodeParts | None = None,
        quarters: _CodeParts | None = None,
    ) -> None: ...

def code_buffer(bytes: int) -> NDArray[np.uint8]: ...
def code_query_bits(n_queries: int, dim: int, kind: str = "int8") -> int: ...
def code_row_bits(codes: IndexCodes, n_queries: int) -> int: ...
def sample_mean(vectors: NDArray[np.float32] | StoredRows, metric: str) -> NDArray[np.float32]: ...
def code_rows(
    vectors: NDArray[np.float32] | StoredRows,
    norms: NDArray[np.float32],
    metric: str,
    mean: NDArray[np.float32],
    codes: NDArray[np.uint8],
    scales: NDArray[np.float32],
    lengths: NDArray[np.float32],
    errors: NDArray[np.float32],
    squares: NDArray[np.float32] | None,
    first: int,
    workers: int = 1,
    kind: str = "int8",
    residuals: _CodeParts | None = None,
    coarse: _CodeParts | None = None,
    quarters: _CodeParts | None = None,
) -> None: ...
def search_topk(
    queries: NDArray[np.float32],
    index: NDArray[np.float32] | StoredRows,
    metric: str,
    scores_out: NDArray[np.float32],
    rows_out: NDArray[np.int64],
    norms: NDArray[np.float32] | None = None,
    mask: NDArray[np.bool_] | None = None,
    order: NDArray[np.int64] | None = None,
    threshold: float | None = None,
    self_first: int = -1,
    check_finite: bool = True,
    workers: int = 1,
    codes: IndexCodes | None = None,
    accelerate: bool = True,
    counts: NDArray[np.int64] | None = None,
    medium: bool | None = None,
) -> tuple[int, int]: ...
def search_range(
    queries: NDArray[np.float32],
    index: NDArray[np.float32] | StoredRows,
    metric: str,
    threshold: float,
    *,
    norms: NDArray[np.float32] | None = None,
    mask: NDArray[np.bool_] | None = None,
    order: NDArray[np.int64] | None = None,
    self_first: int = -1,
    check_finite: bool = True,
    workers: int = 1,
    codes: IndexCodes | None = None,
    accelerate: bool = True,
    medium: bool | None = None,
) -> tuple[int, int, NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]: ...
def search_count(
    queries: NDArray[np.float32],
    index: NDArray[np.float32] | StoredRows,
    metric: str,
    threshold: float,
    *,
    norms: NDArray[np.float32] | None = None,
    mask: NDArray[np.bool_] | None = None,
    order: NDArray[np.int64] | None = None,
    self_first: int = -1,
    check_finite: bool = True,
    workers: int = 1,
    codes: IndexCodes | None = None,
    accelerate: bool = True,
) -> tuple[int, int, NDArray[np.int64]]: ...
def similarity(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    metric: str,
    out: NDArray[np.float32],
    workers: int = 1,
    split: bool | None = None,
) -> None: ...
def paired_similarity(
    a: NDArray[np.float32], b: NDArray[np.float32], metric: str, out: NDArray[np.float32], workers: int = 1
) -> None: ...
def advise_random_reads(mapped: NDArray[Any]) -> None: ...
def row_norms(x: NDArray[np.float32] | StoredRows, workers: int = 1) -> NDArray[np.float32]: ...
def normalize_rows(x: NDArray[np.float32], out: NDArray[np.float32], workers: int = 1) -> None: ...
