"""What the benches share: the shared corpus, the FMA peak, medians."""

from __future__ import annotations

import lzma
import os
import platform
import statistics
import sys
import tempfile
import time
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


def fma_peak(isa: str) -> float:
    """Single-precision FLOP/s of one core in registers: the best of seven short runs."""
    rounds = 4_000_000
    rates = []
    for _ in range(7):
        started = time.perf_counter()
        flops = _core.kernel_fma_peak_f32(isa, rounds)
        rates.append(flops / (time.perf_counter() - started))
    return max(rates)


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
