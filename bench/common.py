"""What the benches share: the shared corpus, the FMA peak, medians."""

from __future__ import annotations

import lzma
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastembed import _core

HALF_LINES = 98_678


def shared_path(*parts: str) -> Path:
    """A file of the shared data folder; ends the bench, saying so, when it is not there."""
    root = Path(os.environ.get("FASTEMBED_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        sys.exit(f"skipped: {path} is not there (set FASTEMBED_SHARED to the folder with data/ and eval/)")
    return path


def unpacked_corpus(lines: int | None = None, half: int = 0) -> Path:
    """The real corpus as plain text in the temporary folder: whole, its first `lines` lines, or its first or second
    half. Unpacked once."""
    packed = shared_path("data", "enwiki-featured.txt.xz")
    name = f"half{half}" if half else str(lines or "all")
    plain = Path(tempfile.gettempdir()) / f"fastembed-bench-enwiki-{name}.txt"
    if not plain.exists():
        partial = plain.with_suffix(f".{os.getpid()}")
        with lzma.open(packed, "rb") as source, partial.open("wb") as target:
            for number, line in enumerate(source):
                if number == lines:
                    break
                if not half or (number >= HALF_LINES) == (half == 2):
                    target.write(line)
        partial.rename(plain)
    return plain


def force_isa(isa: str) -> None:
    """Of an --isa option: without one, FASTEMBED_ISA or the best there is stays in force."""
    if isa:
        _core.select_isa(isa)


def _peak(kernel: Callable[[str, int], float], isa: str) -> float:
    """Operations a second of a kernel that works in registers alone: the best of seven short runs."""
    rates = []
    for _ in range(7):
        started = time.perf_counter()
        operations = kernel(isa, 4_000_000)
        rates.append(operations / (time.perf_counter() - started))
    return max(rates)


def fma_peak(isa: str) -> float:
    """Single-precision FLOP/s of one core."""
    return _peak(_core.kernel_fma_peak_f32, isa)


def code_peak(isa: str) -> float:
    """Operations a second of products of 8-bit codes, one core."""
    return _peak(_core.kernel_code_peak, isa)


def machine() -> str:
    """One line on the processor and the interpreter."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"


def spread(values: list[float], form: str = "{:.2f}") -> str:
    """Median with the smallest and largest value."""
    return f"{form.format(statistics.median(values))} [{form.format(min(values))}-{form.format(max(values))}]"


#: Before each measurement: OpenBLAS's threads spin for 2^28 ticks after a product (106 ms at 2.6 GHz), OpenMP's for a
#: few milliseconds, and what comes next would have to share the processor with them.
PAUSE = 0.2


def timed(call: Callable[[], object], least: float = 0.05) -> float:
    """Seconds a call, repeated for at least `least` seconds."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    count = 0
    while True:
        call()
        count += 1
        passed = time.perf_counter() - started
        if passed >= least:
            return passed / count


def paired(
    ours: Callable[[], float],
    rivals: dict[str, tuple[Callable[[], object], Callable[[], float]]],
    repeats: int,
    near: float,
) -> tuple[list[float], dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of ours, seconds of each rival, and each rival's ratios to the runs of ours before and after it.

    A rival is what prepares it and what returns the seconds of one run. Each runs once; those within `near` of the best
    then run again until each has `repeats` runs.
    """
    own: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    ratios: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for turn in range(repeats):
        own.append(ours())
        for name in names:
            prepare, run = rivals[name]
            prepare()
            seconds[name].append(run())
            own.append(ours())
            ratios[name].append(2 * seconds[name][-1] / (own[-2] + own[-1]))
        if turn == 0:
            best = min((taken[0] for taken in seconds.values()), default=0.0)
            names = [name for name in names if seconds[name][0] <= near * best]
    return own, seconds, ratios
