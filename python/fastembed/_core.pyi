from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

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
    ) -> None: ...
    def add_files(self, paths: list[str], on_progress: Callable[[int], None] | None = None) -> None: ...
    def add_bytes(
        self,
        block: bytes | bytearray | memoryview,
        source: str,
        last: bool,
        on_progress: Callable[[int], None] | None = None,
    ) -> None: ...
    def add_tokens(self, sentences: Iterator[Any], max_tokens: int) -> bool: ...
    def add_integers(self, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> None: ...
    def finish(
        self, min_count: int, max_final_vocab: int | None = None
    ) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64], dict[str, int]]: ...
    @property
    def bytes_done(self) -> int: ...
    @property
    def sentences_given(self) -> int: ...

def kernel_token_edges_u8(
    isa: str, text: bytes | npt.NDArray[np.uint8], piece_blocks: int
) -> tuple[npt.NDArray[np.uint32], bool, bool]: ...
