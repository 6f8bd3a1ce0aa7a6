"""The layout's rules, read off the sources: what a room may include, how long a file may be, what nobody writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from native import CSRC, ROOT

CXX_SUFFIXES = {".cpp", ".hpp", ".cu", ".cuh"}
SOURCES = sorted(path for path in CSRC.rglob("*") if path.suffix in CXX_SUFFIXES)
PYTHON = sorted((ROOT / "python").rglob("*.py"))
EVERYTHING = sorted(
    path
    for room in ("csrc", "python", "tests", "bench", "docs", ".ci")
    for path in (ROOT / room).rglob("*")
    if path.is_file() and path.suffix in {*CXX_SUFFIXES, ".py", ".pyi", ".md", ".txt", ".cmake", ".sh", ""}
)
KERNEL_ROOMS = ("isa", "simd", "kernels")
KERNEL_INCLUDES = {"<cstddef>", "<cstdint>", "<immintrin.h>", "<arm_neon.h>", '"cpu/kernel_table.hpp"'}


def room_of(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(path: Path) -> str:
    """The text without comments (string literals stay)."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def includes_of(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+([<"][^>"]+[>"])', path.read_text(), re.MULTILINE)


def matches(rooms: tuple[str, ...], pattern: str) -> list[str]:
    """Where the code of these rooms matches, as "file: text"."""
    expression = re.compile(pattern)
    return [
        f"{name_of(path)}: {found.group(0)}"
        for path in SOURCES
        if room_of(path) in rooms
        for found in expression.finditer(code_of(path))
    ]


ALL_ROOMS = tuple(sorted({room_of(path) for path in SOURCES}))


def test_rooms_are_known() -> None:
    assert set(ALL_ROOMS) <= {"cpu", "isa", "simd", "kernels", "search", "train", "support", "bindings", "cuda"}
    assert {"cpu", "isa", "simd", "kernels", "support", "bindings"} <= set(ALL_ROOMS)


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) in KERNEL_ROOMS], ids=name_of)
def test_kernel_rooms_include_no_library_code(path: Path) -> None:
    foreign = [
        name
        for name in includes_of(path)
        if name not in KERNEL_INCLUDES and not re.fullmatch(r'"(simd/\w+\.hpp|kernels/\w+\.inl\.hpp)"', name)
    ]
    assert foreign == []


def test_kernel_table_is_plain_data() -> None:
    parts = ["cpu/training_steps.hpp", "cpu/search_steps.hpp"]
    quoted = {f'"{part}"' for part in parts}
    assert set(includes_of(CSRC / "cpu/kernel_table.hpp")) == {"<cstddef>", "<cstdint>"} | quoted
    for part in ["cpu/kernel_table.hpp", *parts]:
        assert not re.search(r"\binline\b|\btemplate\b", code_of(CSRC / part))
    assert all(set(includes_of(CSRC / part)) <= {"<cstddef>", "<cstdint>"} for part in parts)


def test_kernels_live_in_anonymous_namespaces() -> None:
    for path in SOURCES:
        if room_of(path) in ("simd", "kernels"):
            opened = re.search(r"^namespace \{$", path.read_text(), re.MULTILINE)
            assert opened or path.name == "all.inl.hpp", f"{name_of(path)} opens no anonymous namespace"
    assert matches(("isa", "simd", "kernels"), r"\bstd::(?!size_t\b|u?int\d+_t\b|ptrdiff_t\b)\w+") == []
    assert (
        matches(
            ("isa", "simd", "kernels"),
            r"\bstatic\s+(?!constexpr|std::uint32_t|Reg\b|Bits\b|Operand\b|Vec::|float\w*|void\b|__m|_assert)\w+",
        )
        == []
    )


def test_instruction_sets_stay_in_the_kernel_rooms() -> None:
    rooms = tuple(room for room in ALL_ROOMS if room not in KERNEL_ROOMS)
    simd = (
        r'immintrin\.h|arm_neon\.h|x86intrin\.h|"simd/|"kernels/|\b_mm\d*_\w+|__builtin_ia32|target_clones|\btarget\("'
    )
    assert matches(rooms, simd) == []


def test_no_python_below_the_bindings() -> None:
    rooms = tuple(room for room in ALL_ROOMS if room != "bindings")
    assert matches(rooms, r"Python\.h|pybind11|\bpy::|\bPy[A-Z]\w+\(|numpy/") == []


def test_arrays_are_touched_in_one_file() -> None:
    found = matches(("bindings",), r"py::array\w*|py::buffer\w*|pybind11/numpy\.h|PyArray_\w+")
    assert [text for text in found if not text.startswith("csrc/bindings/arrays.hpp")] == []


def test_module_only_binds() -> None:
    body = code_of(CSRC / "bindings/module.cpp")
    assert "mod_gil_not_used" in body
    assert len(body.splitlines()) <= 40


def test_library_neither_prints_nor_ends_the_process() -> None:
    calls = r"\b(v?f?printf|puts|fputs|putchar|perror|abort|exit|_exit|quick_exit|terminate|assert)\s*\("
    assert matches(ALL_ROOMS, calls) == []
    assert matches(ALL_ROOMS, r"std::(cout|cerr|clog)|<iostream>|<cassert>|<omp\.h>|#\s*pragma\s+omp") == []


def test_no_load_time_flags() -> None:
    text = (ROOT / "CMakeLists.txt").read_text() + (CSRC / "isa/CMakeLists.txt").read_text()
    text = re.sub(r"#[^\n]*", "", text)
    # What an AArch64 tier needs beyond the base profile can only be named with an architecture.
    text = text.replace("-march=armv8.2-a+dotprod", "")
    assert not re.search(r"(?<!-fno)-flto|INTERPROCEDURAL_OPTIMIZATION|-march=|-ffast-math|-Ofast|OpenMP|BLAS", text)
    assert re.search(r"pybind11_add_module\(_core MODULE NO_EXTRAS", text)  # its extras turn LTO on


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_files_are_short_and_finished(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500
    assert not re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", text)
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)
    assert text == "" or text.endswith("\n")


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".hpp"], ids=name_of)
def test_headers_say_what_they_hold(path: Path) -> None:
    lines = path.read_text().splitlines()
    opening = next(number for number, line in enumerate(lines) if not line.startswith("//"))
    assert 1 <= opening <= 12
    assert lines[opening] == "#pragma once" or room_of(path) == "simd"


def cxx_functions(path: Path) -> list[tuple[str, int]]:
    """First line and length of each function, by the formatter's indentation: the body ends where its column closes."""
    found, opened = [], None
    for number, line in enumerate(path.read_text().splitlines()):
        start = re.match(r"( {0,2})(?!namespace|struct|class|enum|extern|#|//|\})\S.*\{$|( {0,2})\S.*\) .*\{$", line)
        if opened is None and start and not re.match(r"\s*(namespace|struct|class|enum|union)\b", line):
            opened = (number, line.strip(), len(line) - len(line.lstrip()))
        elif opened is not None and re.match(" " * opened[2] + r"\}", line):
            found.append((opened[1], number - opened[0] + 1))
            opened = None
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_cxx_functions_are_short(path: Path) -> None:
    assert [(name, length) for name, length in cxx_functions(path) if length > 60] == []


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_python_modules(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module starts with what it holds"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1
            start = node.body[1].lineno if documented else node.lineno
            assert (node.end_lineno or start) - start < 60, f"{node.name} is longer than 60 lines"
