"""Builds the C++ side with CMake and reads object files with binutils, for the hygiene tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
STRICT = bool(os.environ.get("FASTEMBED_STRICT"))


@dataclass(frozen=True)
class Tier:
    """One row of the registry, csrc/isa/CMakeLists.txt."""

    name: str
    rank: int
    architecture: str


@dataclass(frozen=True)
class Build:
    folder: Path

    def isa_object(self, tier: str) -> Path:
        (path,) = self.folder.glob(f"**/fastembed_isa_{tier}.dir/{tier}.cpp.o")
        return path

    def host_objects(self) -> list[Path]:
        return sorted(self.folder.glob("**/fastembed_host.dir/**/*.o"))

    @property
    def kernel_check(self) -> Path:
        return self.folder / "kernel_check"


def registry() -> list[Tier]:
    """The rows of the registry, in its order."""
    text = (CSRC / "isa/CMakeLists.txt").read_text()
    rows = re.findall(r"^fastembed_isa_tier\((\w+)\s+RANK\s+(\d+)\s+ARCHITECTURE\s+(\w+)", text, re.MULTILINE)
    return [Tier(name, int(rank), architecture) for name, rank, architecture in rows]


def require(tool: str) -> str:
    """The path of a tool, from the environment of this interpreter first.

    Skips the test when the tool is missing, or fails it under FASTEMBED_STRICT, which `.ci/run` sets.
    """
    path = shutil.which(tool, path=sysconfig.get_path("scripts")) or shutil.which(tool)
    if path is None and STRICT:
        pytest.fail(f"{tool} is not installed")
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def output(*command: str | Path, timeout: float = 600) -> str:
    """What a command prints; a failure shows all of it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def configure(folder: Path, *options: str) -> None:
    """Configure everything that needs no Python; warnings are errors under FASTEMBED_STRICT."""
    common = ["-DFASTEMBED_PYTHON=OFF", "-DFASTEMBED_KERNEL_CHECK=ON", f"-DFASTEMBED_WERROR={STRICT}"]
    common += ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    common += [f"-DCMAKE_MAKE_PROGRAM={require('ninja')}"]
    output(require("cmake"), "-S", ROOT, "-B", folder, "-G", "Ninja", *common, *options)


def build(folder: Path, *, toolchain: Path | None = None) -> Build:
    """Configure and build."""
    require("c++" if toolchain is None else "aarch64-linux-gnu-g++")
    configure(folder, *([] if toolchain is None else [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"]))
    output(require("cmake"), "--build", folder)
    return Build(folder)


@dataclass(frozen=True)
class Symbol:
    name: str
    kind: str  # nm's letter

    @property
    def undefined(self) -> bool:
        return self.kind in "Uwv"

    @property
    def weak(self) -> bool:
        return self.kind in "WVwvu"

    @property
    def exported(self) -> bool:
        return not self.undefined and (self.kind.isupper() or self.kind == "u")


def symbols(path: Path, *options: str) -> list[Symbol]:
    lines = output(require("nm"), "--format=posix", *options, path).splitlines()
    return [Symbol(*line.split()[:2]) for line in lines if len(line.split()) >= 2]


def sections(path: Path) -> set[str]:
    text = output(require("readelf"), "--sections", "--wide", path)
    return set(re.findall(r"^\s*\[\s*\d+\]\s+(\S+)", text, re.MULTILINE))


def disassembly(path: Path) -> list[str]:
    """Instructions as text, one a line, without addresses."""
    text = output(require("objdump"), "--disassemble", "--no-show-raw-insn", path)
    return re.findall(r"^\s*[0-9a-f]+:\s+(\S.*)$", text, re.MULTILINE)
