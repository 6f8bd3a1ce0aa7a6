"""What every test may rely on: the header line, the markers gpu and timed, native builds and fresh interpreters."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

import fastembed
import native
from fastembed import _core
from tiers import SEARCH_ISAS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# A sanitizer slows calls down by an unpredictable factor, so that only the count of examples is limited there.
hypothesis.settings.register_profile("sanitizer", deadline=None, max_examples=25)
hypothesis.settings.register_profile("plain", deadline=None)
hypothesis.settings.load_profile("sanitizer" if _core.sanitizers else "plain")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    isas = ", ".join(fastembed.isa.available())
    sanitizers = _core.sanitizers or "none"
    return (
        f"fastembed {fastembed.__version__}: instruction set {fastembed.isa.active()} (of {isas}), "
        f"{_core.default_worker_count()} workers, sanitizers: {sanitizers}"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if fastembed.cuda.is_available():
        return
    skip = pytest.mark.skip(reason=f"no CUDA: {fastembed.cuda.why_not()}")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Hold an advisory lock on a file or folder of ours, which nothing else asks for."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child may still hold the descriptor
        os.close(descriptor)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let nothing run beside a test that measures time, in whatever process of pytest-xdist."""
    with contextlib.ExitStack() as held:
        # Whoever asks stands in line at the first lock, or tests that follow each other would keep a timed one out.
        with _locked(Path(__file__), fcntl.LOCK_EX):
            timed = item.get_closest_marker("timed") is not None
            held.enter_context(_locked(Path(native.__file__), fcntl.LOCK_EX if timed else fcntl.LOCK_SH))
        return (yield)


@pytest.fixture(params=SEARCH_ISAS)
def every_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test of search on each instruction set of this machine that searches in its own way."""
    before = fastembed.isa.active()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter; keyword arguments are environment variables, None removes one."""

    def run(
        code: str, *, prefix: tuple[str, ...] = (), timeout: float = 120, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        settings = {key: value for key, value in os.environ.items() if environment.get(key, "") is not None}
        settings.update({key: value for key, value in environment.items() if value is not None})
        return subprocess.run(
            [*prefix, sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=settings,
            timeout=timeout,
            check=False,
        )

    return run


@contextlib.contextmanager
def _shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Hold a folder that all processes of pytest-xdist share, so that what takes minutes is built once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with _locked(folder, fcntl.LOCK_EX):
        yield folder


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory) -> native.Build:
    """The C++ side built for this machine, without Python: objects of every tier and kernel_check."""
    with _shared_folder(tmp_path_factory, "native") as folder:
        return native.build(folder)


@pytest.fixture(scope="session")
def neon_build(tmp_path_factory: pytest.TempPathFactory) -> native.Build:
    """The C++ side cross-compiled for AArch64."""
    native.require("aarch64-linux-gnu-g++")
    with _shared_folder(tmp_path_factory, "neon") as folder:
        return native.build(folder, toolchain=native.ROOT / "csrc/isa/aarch64-linux-gnu.cmake")
