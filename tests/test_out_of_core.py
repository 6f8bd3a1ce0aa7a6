"""Indexes larger than memory: codes are read in order, of the vectors only rows that may be among the results."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fastembed import Index
from search_cases import assert_same, normal

PAGE = os.sysconf("SC_PAGESIZE")


def forget(directory: Path) -> None:
    """Have the system drop what it holds of these files."""
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(array: np.ndarray) -> float:
    """The share of the array's pages that is in memory."""
    begin = array.ctypes.data // PAGE * PAGE
    pages = np.zeros((array.ctypes.data + array.nbytes - begin + PAGE - 1) // PAGE, dtype=np.uint8)
    library = ctypes.CDLL(None, use_errno=True)
    length = ctypes.c_size_t(array.ctypes.data + array.nbytes - begin)
    assert library.mincore(ctypes.c_void_p(begin), length, ctypes.c_void_p(pages.ctypes.data)) == 0
    return float((pages & 1).mean())


def from_disk(index: Index, directory: Path) -> Index:
    """The index saved and mapped, of which nothing is in memory."""
    index.save(directory / "index")
    forget(directory)
    mapped = Index.load(directory / "index")
    if resident(mapped.vectors) > 0.05:
        pytest.skip("this file system keeps its files in memory")
    return mapped


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux which pages are in memory")
def test_vectors_of_candidates_alone_are_read(tmp_path: Path) -> None:
    vectors, queries = normal(60_000, 128, seed=1), normal(4, 128, seed=2)
    index = Index(vectors, "dot")
    mapped = from_disk(index, tmp_path)
    assert_same(mapped.search(queries, 10), index.search(queries, 10))
    assert resident(mapped._rows.state.coded.arrays.codes) > 0.95
    # 4 queries have some 200 candidates each, at most 2 pages of 4 KB a row, of 7,500 pages.
    assert resident(mapped.vectors) < 0.4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux which pages are in memory")
@pytest.mark.parametrize(("dim", "n_queries"), [(128, 4), (128, 64), (256, 64)])
def test_residuals_take_the_place_of_rows(dim: int, n_queries: int, tmp_path: Path) -> None:
    """Of the vectors hardly more is read than what is found: here 0.7, 9.5 and 5.7%, without them 11, 56 and 46%."""
    vectors, queries = normal(60_000, dim, seed=1), normal(n_queries, dim, seed=2)
    index = Index(vectors, "dot")
    mapped = from_disk(index, tmp_path)
    found = mapped.search(queries, 10)
    read = resident(mapped.vectors)
    assert_same(found, index.search(queries, 10))
    # A row is one or two pages of 4 KB; twice as many rows as are found, for those that are scored on the way.
    assert read < 2 * 2 * 10 * n_queries * PAGE / vectors.nbytes


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group whose processes have no more memory than this, cached files included."""
    root = Path("/sys/fs/cgroup")
    is_first = (root / "memory").is_dir()
    group = (root / "memory" if is_first else root) / f"fastembed-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / ("memory.limit_in_bytes" if is_first else "memory.max")).write_text(str(limit))
        except OSError as error:
            pytest.skip(f"control groups do not limit memory here: {error}")
        yield group
    finally:
        group.rmdir()


SEARCH = """
import os
open(GROUP + "/cgroup.procs", "w").write(str(os.getpid()))
import numpy as np
import fastembed
index = fastembed.Index.load(FOLDER + "/index")
queries = np.load(FOLDER + "/queries.npy")
print(index.plan(10, 1).row_bits, fastembed._memory.memory_limit())
for count in (1, len(queries)):
    found = index.search(queries[:count], 10)
np.save(FOLDER + "/ids.npy", found.ids)
np.save(FOLDER + "/scores.npy", found.scores)
"""


@pytest.mark.slow
def test_index_four_times_as_large_as_memory(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    limit = 105 << 20
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((900_000, 128), dtype=np.float32)
    assert vectors.nbytes > 4 * limit
    queries = normal(16, 128, seed=6)
    with memory_group(limit) as group:
        index = Index(vectors, "dot")
        index.save(tmp_path / "index")
        np.save(tmp_path / "queries.npy", queries)
        forget(tmp_path)
        done = run_python(f"GROUP, FOLDER = {str(group)!r}, {str(tmp_path)!r}\n" + SEARCH, timeout=300)
        assert done.returncode == 0, done.stderr
        # Whole codes: coarse ones would have the candidates' codes read from the disk one by one.
        row_bits, known_limit = map(int, done.stdout.split())
        assert (row_bits, known_limit) == (8, limit // PAGE * PAGE)
    found = np.load(tmp_path / "scores.npy"), np.load(tmp_path / "ids.npy")
    assert_same(found, index.search(queries, 10))
