"""Large vocabularies: the memory that training takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import fastembed

WORDS, DIM = 1_000_000, 300
NEEDED_TO_RUN = 4 << 30

PEAK = f"""
import resource
import numpy as np, fastembed
words, dim = {WORDS}, {DIM}
ids = np.concatenate([np.arange(words, dtype=np.int32)] * 2)
offsets = np.arange(0, len(ids) + 1, 1000)
vectors = fastembed.train_word2vec(
    (ids, offsets), vector_size=dim, epochs=1, min_count=1, workers=2, sample=0, progress=False,
    negative_sharing=SHARING, precision=PRECISION,
)
assert vectors.vectors.shape == vectors.output_vectors.shape == (words, dim)
assert np.isfinite(vectors.vectors[::997]).all() and vectors.output_vectors[::997].any()
needed = vectors.vectors.nbytes + vectors.output_vectors.nbytes + ids.nbytes + offsets.nbytes
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / needed)
"""


def available_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize(("sharing", "precision"), [("window", "float32"), ("tile", "float32"), ("tile", "bfloat16")])
def test_training_takes_little_more_than_its_matrices(
    sharing: str, precision: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Peak of the whole process, interpreter, NumPy and a million words as str included, over the float32 matrices that
    come out and the corpus that went in."""
    if fastembed.show_config()["sanitizers"]:
        pytest.skip("a sanitizer's own memory is counted too")
    if available_memory() < NEEDED_TO_RUN:
        pytest.skip(f"needs {NEEDED_TO_RUN >> 30} GiB of memory, {available_memory() >> 20} MiB are free")
    code = f"SHARING, PRECISION = {sharing!r}, {precision!r}\n" + PEAK
    done = run_python(code, timeout=600)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.15


def test_memory_that_is_not_there_is_told_of() -> None:
    if fastembed.show_config()["sanitizers"]:
        pytest.skip("a sanitizer's own memory is counted too")
    program = """
import resource
import fastembed, numpy as np
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
ids = np.arange(1_000_000, dtype=np.int32)
try:
    fastembed.train_word2vec((ids, np.array([0, len(ids)])), vector_size=2000, min_count=1, progress=False)
except MemoryError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "cannot allocate 8 GB\n"
