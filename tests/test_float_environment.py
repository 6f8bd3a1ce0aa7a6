"""Search gives the same bits in a program whose floating-point environment is another one, and leaves that as it is."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Denormals flushed to zero on both sides, and sums rounded up: what a library built with -ffast-math does, and worse.
SOURCE = """
__attribute__((constructor)) static void change(void) {
  unsigned state;
  __asm__ volatile("stmxcsr %0" : "=m"(state));
  state |= 0x8040 | 0x4000;
  __asm__ volatile("ldmxcsr %0" : : "m"(state));
}
"""
SCRIPT = """
import ctypes, sys
import numpy as np
import fastembed

random = np.random.default_rng(0)
small = (random.standard_normal((500, 24)) * 1e-39).astype(np.float32)
large = random.standard_normal((500, 24)).astype(np.float32)


def results():
    for vectors in (small, large):
        index = fastembed.Index(vectors)
        for metric in ("cosine", "dot", "l2"):
            for found in (fastembed.topk(vectors[:20], vectors, 5, metric=metric),
                          fastembed.self_topk(vectors, 3, metric=metric)):
                yield from found
            yield fastembed.similarity(vectors[:20], vectors, metric=metric)
        for storage in ("float16", "int8"):
            yield fastembed.Index(large, storage=storage).vectors
        yield from index.search(vectors[:20], 5, workers=2)
        yield from index.range_search(vectors[0], 0.5)


tiny = np.float32(1e-40)
before = [result.tobytes() for result in results()]
assert tiny * np.float32(1.0) != 0
ctypes.CDLL(sys.argv[1])
assert tiny * np.float32(1.0) == 0, "the environment has not changed"
assert [result.tobytes() for result in results()] == before
assert tiny * np.float32(1.0) == 0, "the environment has been changed back"
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="changes the state of an x86-64 processor")
def test_results_do_not_depend_on_the_floating_point_environment(tmp_path: Path) -> None:
    source, library = tmp_path / "change.c", tmp_path / "change.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    subprocess.run([sys.executable, "-c", SCRIPT, str(library)], check=True)
