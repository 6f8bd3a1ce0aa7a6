from collections.abc import Callable, Sequence
from typing import TypedDict

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

class Trainer:
    def __init__(
        self,
        *,
        ids: NDArray[np.int32],
        offsets: NDArray[np.int64],
        counts: NDArray[np.int64],
        vector_size: int,
        sg: bool,
        share_negatives: bool,
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
    ) -> None: ...
    def run_epoch(
        self, epoch: int, workers: int, on_tick: Callable[[EpochProgress], None] | None = None
    ) -> EpochProgress: ...
    def copy_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def take_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

def active_isa() -> str: ...
def active_kernels() -> dict[str, str]: ...
def available_isas() -> list[str]: ...
def compiled_isas() -> list[str]: ...
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
def kernel_sgns_window_f32(
    isa: str,
    input: NDArray[np.float32],
    output: NDArray[np.float32],
    contexts: Sequence[int],
    targets: Sequence[int],
    learning_rate: float,
) -> float: ...
def kernel_sigmoid_f32(isa: str, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def pool_thread_count() -> int: ...
def select_isa(name: str) -> None: ...
def set_default_worker_count(workers: int) -> None: ...
def usable_cpu_count() -> int: ...
