"""Threads: how many there are, forks, and many Python threads at once."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import _core

SENTENCES = [[f"w{(i * 7 + j * j) % 40}" for j in range(20)] for i in range(100)]

TRAIN = """
import fastembed
sentences = [[f"w{(i * 7 + j * j) % 40}" for j in range(20)] for i in range(100)]
def train(workers):
    return fastembed.train_word2vec(
        sentences, vector_size=16, min_count=1, epochs=2, workers=workers, progress=False
    ).vectors.tobytes()
"""

FORK = """
import os, sys, warnings
from fastembed import _core
warnings.simplefilter("ignore")  # Python 3.12 warns of any fork after threads
alone = train(1)
train(2)
assert _core.pool_thread_count() >= 1
child = os.fork()
if child == 0:
    try:
        assert _core.pool_thread_count() == 0, "the child has no threads of its own yet"
        assert train(1) == alone
        train(3)
        assert _core.pool_thread_count() >= 1
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if train(1) == alone else 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert train(1) == alone
print("parent and children trained")
"""

FORK_WHILE_TRAINING = """
import os, threading, warnings
warnings.simplefilter("ignore")
alone = train(1)
stop = threading.Event()
def busy():
    while not stop.is_set():
        train(2)
thread = threading.Thread(target=busy)
thread.start()
codes = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if train(1) == alone else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(codes)
"""


@pytest.fixture(autouse=True)
def default_threads():
    yield
    fastembed.set_num_threads(None)


@pytest.mark.threads
def test_fork(run_python) -> None:
    done = run_python(TRAIN + FORK)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "parent and children trained\n"


@pytest.mark.threads
@pytest.mark.skipif(bool(_core.sanitizers), reason="gcc 12's sanitizers fork with their allocator's locks taken")
def test_fork_while_another_thread_trains(run_python) -> None:
    done = run_python(TRAIN + FORK_WHILE_TRAINING)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 0, 0, 0, 0]\n"


@pytest.mark.threads
def test_many_python_threads() -> None:
    def train(workers: int) -> np.ndarray:
        return fastembed.train_word2vec(
            SENTENCES, vector_size=16, min_count=1, epochs=2, workers=workers, progress=False
        ).vectors

    alone = train(1)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(train, [1, 2, 1, 3, 1, 1, 2, 1] * 2))
    for workers, vectors in zip([1, 2, 1, 3, 1, 1, 2, 1] * 2, together, strict=True):
        assert np.isfinite(vectors).all()
        if workers == 1:
            np.testing.assert_array_equal(vectors, alone)


def test_a_search_works_on_the_calling_thread_too(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_python("""
import numpy as np, fastembed
from fastembed import _core
index = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
alone = fastembed.topk(index[:300], index, 5, workers=1)
print(_core.pool_thread_count())
together = fastembed.topk(index[:300], index, 5, workers=3)
print(_core.pool_thread_count(), (together.ids == alone.ids).all())
""")
    assert done.stdout.split() == ["0", "2", "True"], done.stdout + done.stderr


def test_a_single_query_has_a_second_worker_from_three_megabytes_on(run_python) -> None:
    done = run_python("""
import numpy as np, fastembed
from fastembed import _core
for shape in ((2000, 128), (5000, 128), (1000, 768)):
    rows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    alone = fastembed.topk(rows[0], rows, 5, metric="dot", workers=1)
    together = fastembed.topk(rows[0], rows, 5, metric="dot", workers=2)
    print(_core.pool_thread_count(), (together.ids == alone.ids).all() and (together.scores == alone.scores).all())
""")
    assert done.stdout.splitlines() == ["0 True", "0 True", "1 True"], done.stdout + done.stderr


@pytest.mark.skipif(_core.current_cpu() < 0, reason="the system does not tell which processor a thread runs on")
def test_a_thread_leaves_the_processor_of_another() -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("there is one processor only")
    for _ in range(20):
        # The kernel may move the thread again at any time, if seldom: so whoever is elsewhere stays, or has left.
        left = _core.current_cpu()
        _core.leave_cpu(left)
        if _core.current_cpu() != left:
            break
    else:
        pytest.fail(f"the thread stays on processor {left}")
    assert os.sched_getaffinity(0) == before
    with ThreadPoolExecutor(1) as pool:
        alone = {min(before)}
        pool.submit(os.sched_setaffinity, 0, alone).result()  # of that thread alone
        pool.submit(_core.leave_cpu, min(before)).result()
        assert pool.submit(os.sched_getaffinity, 0).result() == alone
        assert pool.submit(_core.current_cpu).result() == min(before)
    _core.leave_cpu(-1)
    _core.leave_cpu(1 << 20)
    assert os.sched_getaffinity(0) == before


@pytest.mark.threads
def test_free_threading_is_declared(run_python) -> None:
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter always has the GIL; the declaration is checked in test_structure.py")
    done = run_python("import sys, fastembed; print(sys._is_gil_enabled())", PYTHON_GIL=None)
    assert done.stdout == "False\n", done.stderr


def cgroup_quota() -> float:
    """The tightest CPU quota from this process's control groups to their roots, in cores; infinite without one."""
    quota = math.inf
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in [Path(path), *Path(path).parents]:
            here = Path("/sys/fs/cgroup", controllers, str(folder).lstrip("/"))
            if (here / "cpu.max").exists():
                limit, period = (here / "cpu.max").read_text().split()
            elif (here / "cpu.cfs_quota_us").exists():
                limit, period = (here / "cpu.cfs_quota_us").read_text(), (here / "cpu.cfs_period_us").read_text()
            else:
                continue
            if limit != "max" and float(limit) > 0:
                quota = min(quota, float(limit) / float(period))
    return quota


@pytest.mark.skipif(sys.platform != "linux", reason="affinity and control groups are Linux's")
def test_usable_cpus_are_the_affinity_mask_under_the_quota() -> None:
    allowed = len(os.sched_getaffinity(0))
    quota = cgroup_quota()
    assert _core.usable_cpu_count() == (allowed if math.isinf(quota) else max(1, min(allowed, math.ceil(quota))))


COUNT = "import fastembed; from fastembed import _core; print(_core.default_worker_count())"


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
def test_affinity_is_honoured(run_python) -> None:
    first = min(os.sched_getaffinity(0))
    done = run_python(COUNT, prefix=("taskset", "-c", str(first)), FASTEMBED_NUM_THREADS=None)
    assert done.stdout == "1\n", done.stderr


def test_environment_sets_the_number(run_python) -> None:
    assert run_python(COUNT, FASTEMBED_NUM_THREADS="3").stdout == "3\n"
    assert run_python(COUNT, FASTEMBED_NUM_THREADS="").stdout == f"{_core.usable_cpu_count()}\n"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "2 ", "99999999999999999999"])
def test_wrong_environment_is_an_error(run_python, value: str) -> None:
    done = run_python(COUNT, FASTEMBED_NUM_THREADS=value)
    assert done.returncode == 1
    assert f"ValueError: FASTEMBED_NUM_THREADS must be a whole number of at least 1, got '{value}'" in done.stderr


def test_the_environment_has_the_limit_of_the_argument(run_python) -> None:
    assert run_python(COUNT, FASTEMBED_NUM_THREADS="4096").stdout == "4096\n"
    done = run_python(COUNT, FASTEMBED_NUM_THREADS="4097")
    assert "ValueError: FASTEMBED_NUM_THREADS must be at most 4096, got '4097'" in done.stderr


def test_set_num_threads() -> None:
    fastembed.set_num_threads(3)
    assert _core.default_worker_count() == 3
    fastembed.set_num_threads(None)
    assert fastembed.show_config()["workers"] != 3 or _core.usable_cpu_count() == 3


def test_set_num_threads_wins_over_the_environment(run_python) -> None:
    done = run_python("import fastembed; fastembed.set_num_threads(2)\n" + COUNT, FASTEMBED_NUM_THREADS="5")
    assert done.stdout == "2\n", done.stderr


@pytest.mark.parametrize("count", [0, -1])
def test_set_num_threads_refuses_less_than_one(count: int) -> None:
    with pytest.raises(ValueError, match=rf"workers must be between 1 and \d+, got {count}"):
        fastembed.set_num_threads(count)


@pytest.mark.parametrize("count", ["2", 2.0, 1.5, True])
def test_set_num_threads_refuses_other_types(count: object) -> None:
    with pytest.raises(TypeError):
        fastembed.set_num_threads(count)  # type: ignore[arg-type]


@pytest.mark.timed
@pytest.mark.parametrize("way", ["files", "bytes"])
def test_rounds_that_are_short_are_no_reason_not_to_tick(tmp_path: Path, way: str) -> None:
    text = b"the quick brown fox jumps over the lazy dog\n" * (100_000 if _core.sanitizers else 400_000)
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    encoder = _core.CorpusEncoder(workers=1, chunk_bytes=10_000, chunks_per_round=1)
    calls: list[float] = []

    def tick(_: int) -> None:
        calls.append(time.perf_counter())

    begin = time.perf_counter()
    if way == "files":
        encoder.add_files([os.fsencode(path)] * 16, tick)
    else:
        encoder.add_bytes(text * 16, "text", True, tick)
    end = time.perf_counter()
    assert len(calls) >= 0.5 * (end - begin) / 0.05 - 2
    assert end - begin > 0.15, "too fast to show anything"
