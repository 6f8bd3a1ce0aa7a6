"""Search among threads: readers beside a writer, forks, Ctrl-C, and the memory that a search takes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastembed
from search_cases import assert_same, normal

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.mark.threads
def test_many_threads_get_the_same_answers() -> None:
    queries, index = normal(40, 24, seed=1), normal(3000, 24, seed=2)
    held = fastembed.Index(index)
    expected = fastembed.topk(queries, index, 5)

    def search(turn: int) -> None:
        assert_same(fastembed.topk(queries, index, 5, workers=1 + turn % 3), expected)
        assert_same(held.search(queries, 5, workers=1 + turn % 2), expected)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(search, range(24)))


@pytest.mark.threads
@pytest.mark.parametrize("kind", ["int", "str"])
def test_readers_beside_a_writer(kind: str) -> None:
    """Every element of a row is its id * 64 + its version: a torn row or a stale id gives itself away."""
    dim, count = 16, 300
    name = (lambda number: f"{number:05d}") if kind == "str" else (lambda number: number)

    def rows(numbers: list[int], version: int) -> np.ndarray:
        return np.repeat(np.asarray(numbers, dtype=np.float32)[:, None] * 64 + version, dim, axis=1)

    index = fastembed.Index(rows(list(range(count)), 0), "dot", ids=[name(number) for number in range(count)])
    first_and_last = np.zeros((2, dim), dtype=np.float32)
    first_and_last[0, 0] = first_and_last[1, -1] = 1
    stop, searches, failures = threading.Event(), [0] * 4, []

    def read(turn: int) -> None:
        while not stop.is_set():
            found = index.search(
                first_and_last, 50, filter=None if turn % 2 else [name(number) for number in range(0, 200, 3)]
            )
            numbers = np.asarray([-1 if key in (None, -1) else int(key) for key in found.ids.reshape(-1)])
            scores = found.scores.reshape(-1)[numbers >= 0]
            good = np.array_equal(found.scores[0], found.scores[1]) and np.array_equal(found.ids[0], found.ids[1])
            good &= np.array_equal(scores.astype(np.int64) // 64, numbers[numbers >= 0])
            good &= len(set(numbers[: len(numbers) // 2].tolist())) == len(numbers) // 2
            if not good:
                failures.append(found)
            searches[turn] += 1

    def write() -> None:
        top = count
        for version in range(1, 40):
            live = list(range(0, 200, 3))
            index.update([name(number) for number in live], rows(live, version))
            index.add(rows(list(range(top, top + 20)), version), ids=[name(number) for number in range(top, top + 20)])
            index.remove([name(number) for number in range(top - 20, top)])
            top += 20

    readers = [threading.Thread(target=read, args=(turn,)) for turn in range(4)]
    for thread in readers:
        thread.start()
    try:
        write()
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert failures == []
    assert min(searches) > 0
    assert len(index) == count


FORK = """
import os, sys, threading, warnings
import numpy as np, fastembed
warnings.simplefilter("ignore")  # Python 3.12 warns of any fork after threads
rng = np.random.default_rng(0)
x, queries = rng.standard_normal((500, 12)).astype("f4"), rng.standard_normal((20, 12)).astype("f4")
index = fastembed.Index(x)
expected = index.search(queries, 5, workers=2)
stop = threading.Event()
def busy():
    while not stop.is_set():
        index.add(np.zeros((1, 12), "f4"))  # scores 0: never among the best
        index.search(queries, 5, workers=2)
thread = threading.Thread(target=busy)
thread.start()
codes = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        try:
            found = index.search(queries, 5, workers=2)
            assert (found.ids == expected.ids).all() and (found.scores == expected.scores).all()
            (new,) = index.add(queries[:1])
            assert index.search(queries[0], 1).ids[0] == new
            index.remove([new])
            assert len(index.vectors) == len(index)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(codes)
"""


@needs_fork
@pytest.mark.threads
@pytest.mark.skipif(bool(fastembed.show_config()["sanitizers"]), reason="the thread sanitizer does not follow forks")
def test_forks_while_others_search_and_add(run_python: RunPython) -> None:
    done = run_python(FORK, timeout=60)
    assert done.stdout == "[0, 0, 0, 0, 0]\n", done.stderr


CTRL_C = """
import os, signal, threading, time
import numpy as np, fastembed
rng = np.random.default_rng(0)
queries, index = (rng.standard_normal((n, 128)).astype("f4") for n in (20_000, 100_000))
def interrupt():
    time.sleep(0.5)
    global sent
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    CALL
    print("finished before it was interrupted")
except KeyboardInterrupt:
    seconds = time.perf_counter() - sent
    print("in time" if seconds < 0.4 else f"after {seconds:.2f} s")
found = fastembed.topk(queries[:2], index[:1000], 3)  # and all works again
assert (found.ids == fastembed.topk(queries[:2], index[:1000], 3, workers=1).ids).all()
"""


@pytest.mark.timed
@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "fastembed.topk(np.repeat(queries, 6, axis=0), index, 10, workers=2)",
        "fastembed.topk(np.repeat(queries, 6, axis=0), index, 10, workers=1)",
        "fastembed.range_search(np.repeat(queries, 6, axis=0), index, 0.99, workers=2)",
        "fastembed.topk(np.repeat(queries, 60, axis=0), index[:200], 10, workers=1)",  # many short batches
        "fastembed.range_search(np.repeat(queries, 60, axis=0), index[:200], 0.99, workers=1)",
        "fastembed.similarity(np.resize(queries, (8000, 2048)), np.resize(index, (20_000, 2048)), workers=2)",
        "fastembed.communities(index)",
        "fastembed.deduplicate(index, 0.99)",
    ],
)
def test_ctrl_c_is_answered(call: str, run_python: RunPython) -> None:
    """Within 0.2 s; half a second is given to a loaded machine."""
    done = run_python(CTRL_C.replace("CALL", call), timeout=60)
    assert done.stdout == "in time\n", done.stdout + done.stderr


MEMORY = """
import resource
import numpy as np, fastembed
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rng = np.random.default_rng(0)
index = rng.standard_normal((50_000, 64), dtype=np.float32)
queries = rng.standard_normal((20_000, 64), dtype=np.float32)
fastembed.topk(queries[:1], index)
made = INDEX
before = peak()
RESULT = CALL
result = sum(part.nbytes for part in RESULT) / 2**20
print(peak() - before - result)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize(
    ("index", "call"),
    [
        ("index", "fastembed.topk(queries, index, 10, workers=2)"),
        ("index", "fastembed.topk(queries, index, 100, metric='l2', workers=2)"),
        ("index", "fastembed.topk(queries[:40], index, 30_000, workers=2)"),
        ("np.resize(index, (1_500_000, 2))", "fastembed.topk(made[:1], made, 1_000_000, workers=2)"),
        ("np.resize(index, (1_500_000, 2))", "fastembed.range_search(made[:1], made, -1, workers=2)"),  # everything
        ("np.full((1_500_000, 2), 1e18, 'f4')", "fastembed.topk(made[:1] * 1e-9, made, 10, metric='l2')"),  # unscanned
        ("fastembed.Index(index)", "made.search(queries, 10, workers=2)"),
        ("fastembed.Index(index)", "made.search(queries, 10, filter=range(0, 50_000, 3))"),
        ("index", "fastembed.range_search(queries, index, 0.6)"),
        ("index", "fastembed.range_search(queries[:500], index, -1)"),  # everything
        ("np.ones((5_000, 8), 'f4')", "fastembed.deduplicate(made, 0.9)"),
        ("np.ones((5_000, 8), 'f4')", "fastembed.communities(made)"),
    ],
)
def test_memory_beyond_the_result(index: str, call: str, run_python: RunPython) -> None:
    if fastembed.show_config()["sanitizers"]:
        pytest.skip("a sanitizer's own memory is counted too")
    done = run_python(MEMORY.replace("INDEX", index).replace("CALL", call).replace("RESULT", "found"), timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 64, f"{done.stdout} MiB beyond index and result"


@pytest.mark.slow
def test_a_mapped_index_is_searched_where_it_lies(tmp_path, run_python: RunPython) -> None:
    code = f"""
import resource
import numpy as np, fastembed
mapped = np.load({str(tmp_path / "x.npy")!r}, mmap_mode="r")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = fastembed.topk(np.asarray(mapped[:3]), mapped, 2)
assert found.ids[:, 0].tolist() == [0, 1, 2]
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) for line in file if line.startswith("RssAnon")))
"""
    np.save(tmp_path / "x.npy", normal(400_000, 64))
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 << 10, "the 100 MiB of the file were copied"
