"""Compilers beside the one that built the package."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import native


def clang() -> str:
    """The newest clang++ there is."""
    names = [*(f"clang++-{version}" for version in range(29, 13, -1)), "clang++"]
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("clang++ is not installed")
    return path


@pytest.mark.slow
def test_clang_takes_the_kernels_and_their_flags(tmp_path: Path) -> None:
    """Parsed with all warnings, not compiled: what differs are flags, intrinsics and what a language rule allows.

    Of the other sources two, for the flags that all have.
    """
    native.configure(tmp_path, f"-DCMAKE_CXX_COMPILER={clang()}")
    entries = json.loads((tmp_path / "compile_commands.json").read_text())
    entries = [entry for entry in entries if Path(entry["file"]).parent.name in ("isa", "cpu")]
    assert {"scalar.cpp", "dispatch.cpp"} <= {Path(entry["file"]).name for entry in entries}

    def parse(entry: dict[str, str]) -> str:
        command = f"{entry['command']} -fsyntax-only -Werror"
        done = subprocess.run(command, shell=True, cwd=entry["directory"], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else f"{entry['file']}:\n{done.stderr}"

    with ThreadPoolExecutor(2) as threads:
        failures = [text for text in threads.map(parse, entries) if text]
    assert not failures, "\n".join(failures)
