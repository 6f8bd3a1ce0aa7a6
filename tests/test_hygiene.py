"""The two failure classes of one-object-per-instruction-set libraries, gated on the object files themselves.

1. Shared inline code is emitted in an ISA object as a weak symbol, and the linker keeps the wrong tier's copy.
2. A namespace-scope constant runs its initialiser at load, before dispatch has asked what the machine can do.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastembed
import native
from fastembed import _core

X86 = platform.machine() in ("x86_64", "AMD64")
TIERS = native.registry()
HERE = [tier.name for tier in TIERS if tier.architecture in ("any", "x86_64" if X86 else platform.machine())]

# What a kernel may call: the compiler's memory functions and the logarithm of the loss.
# __popcountdi2 is libgcc's, for processors without the instruction.
ALLOWED_UNDEFINED = {"__popcountdi2", "log", "memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}
# VEX and EVEX mnemonics begin with v, mask registers' with k. tzcnt is absent: gcc writes it for plain bsf.
ANY_AVX = re.compile(r"^(v\w+|k\w+|andn|bextr|bls\w+|pdep|pext|mulx|rorx|sarx|shlx|shrx|popcnt)\s|%[yz]mm")

needs_x86 = pytest.mark.skipif(not X86, reason=f"reads x86-64 machine code, this is {platform.machine()}")


def check_isa_object(path: Path, tier: str) -> None:
    found = native.symbols(path)
    exported = [symbol.name for symbol in found if symbol.exported]
    assert exported == [f"_ZN9fastembed{len(tier) + 7}kTable_{tier}E"]
    assert [symbol.name for symbol in found if symbol.weak] == []
    assert {symbol.name for symbol in found if symbol.undefined} <= ALLOWED_UNDEFINED
    names = native.sections(path)
    assert not {name for name in names if name.startswith((".init_array", ".ctors", ".fini_array", ".dtors", ".tbss"))}
    assert not {name for name in names if name.startswith((".group", ".gnu.linkonce", ".gnu.lto_"))}
    assert "no section groups" in native.output(native.require("readelf"), "--section-groups", path)


def test_registry_names_every_file() -> None:
    assert {f"{tier.name}.cpp" for tier in TIERS} == {path.name for path in (native.CSRC / "isa").glob("*.cpp")}
    assert len({tier.rank for tier in TIERS}) == len(TIERS)


def test_registry_is_what_was_compiled() -> None:
    ranked = sorted((tier for tier in TIERS if tier.name in HERE), key=lambda tier: -tier.rank)
    assert list(_core.compiled_isas()) == [tier.name for tier in ranked]


@pytest.mark.slow
@pytest.mark.parametrize("tier", HERE)
def test_isa_object_exports_its_table_only(native_build: native.Build, tier: str) -> None:
    check_isa_object(native_build.isa_object(tier), tier)


@pytest.mark.slow
@pytest.mark.parametrize("tier", [tier.name for tier in TIERS if tier.architecture in ("any", "aarch64")])
def test_cross_compiled_isa_object_exports_its_table_only(neon_build: native.Build, tier: str) -> None:
    check_isa_object(neon_build.isa_object(tier), tier)


@pytest.mark.slow
@needs_x86
def test_host_and_scalar_objects_run_anywhere(native_build: native.Build) -> None:
    objects = [*native_build.host_objects(), native_build.isa_object("scalar")]
    assert len(objects) > 5
    for path in objects:
        found = [line for line in native.disassembly(path) if ANY_AVX.search(line)]
        assert not found, f"{path.name} holds {found[:5]}"


@pytest.mark.slow
@needs_x86
def test_tiers_use_their_own_registers(native_build: native.Build) -> None:
    avx2 = native.disassembly(native_build.isa_object("avx2"))
    assert any("%ymm" in line for line in avx2)
    assert not [line for line in avx2 if "%zmm" in line or "{%k" in line][:5]
    assert any("%zmm" in line for line in native.disassembly(native_build.isa_object("avx512")))


@pytest.mark.slow
def test_compile_commands(native_build: native.Build) -> None:
    for entry in json.loads((native_build.folder / "compile_commands.json").read_text()):
        flags = entry["command"].split()
        assert not [flag for flag in flags if flag.startswith("-flto") or flag.startswith(("-march", "-mtune"))]
        assert not [flag for flag in flags if flag in ("-Ofast", "-ffast-math", "-fopenmp")]
        if "/isa/" in entry["file"]:
            assert "-fno-lto" in flags
        elif "amx_emulated" not in entry["file"]:
            assert not [flag for flag in flags if re.match(r"-m(avx|fma|bmi|f16c|sse|popcnt)", flag)]


@pytest.mark.slow
def test_kernel_check(native_build: native.Build) -> None:
    lines = native.output(native_build.kernel_check).splitlines()
    assert re.fullmatch(r"[1-9]\d* checks passed", lines[-1])
    emulated = ["amx, emulated"] if "avx512bf16" in _core.available_isas() else []
    names = [line.split(":")[0] for line in lines[:-1]]
    assert sorted(names) == sorted([*_core.available_isas(), *emulated])


def test_extension_links_the_c_and_cxx_runtime_only() -> None:
    text = native.output(native.require("readelf"), "--dynamic", "--wide", Path(_core.__file__))
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", text)
    runtime = re.compile(
        r"(libstdc\+\+|libm|libc|libgcc_s|libpthread|libdl|librt|ld-linux[\w-]*|lib[a-z]+san)\.so\.\d+"
    )
    assert [name for name in needed if not runtime.fullmatch(name)] == []


def run_emulated(cpu: str, code: str, isa: str = "") -> subprocess.CompletedProcess[str]:
    emulator = native.require("qemu-x86_64")
    settings = {**os.environ, "FASTEMBED_ISA": isa}
    check = [emulator, "-cpu", cpu, sys.executable]
    numpy = subprocess.run([*check, "-c", "import numpy"], capture_output=True, text=True, check=False)
    if numpy.returncode != 0:
        pytest.skip(f"NumPy itself does not run on {cpu}: {numpy.stderr.strip().splitlines()[-1:]}")
    return subprocess.run([*check, "-c", code], capture_output=True, text=True, check=False, env=settings)


EMULATED = """
import numpy as np, fastembed
from fastembed import _core
ones = np.ones(33, np.float32)
print(fastembed.isa.active(), *fastembed.isa.available(), _core.kernel_dot_f32(fastembed.isa.active(), ones, ones))
"""


@pytest.mark.slow
@needs_x86
def test_runs_on_a_machine_without_avx() -> None:
    done = run_emulated("Nehalem", EMULATED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["scalar", "scalar", "33.0"]
    refused = run_emulated("Nehalem", "import fastembed", isa="avx2")
    assert refused.returncode == 1
    wanted = r"RuntimeError: instruction set 'avx2' needs .*, which this machine lacks; available: scalar"
    assert re.search(wanted, refused.stderr)


@pytest.mark.slow
@needs_x86
def test_runs_on_a_machine_without_avx512() -> None:
    done = run_emulated("Haswell", EMULATED)
    assert done.returncode == 0, done.stderr
    # qemu emulates AVX2 from version 7.2 on.
    assert done.stdout.split() in (["avx2", "avx2", "scalar", "33.0"], ["scalar", "scalar", "33.0"])


def test_unknown_isa_is_refused_at_import(run_python) -> None:
    done = run_python("import fastembed", FASTEMBED_ISA="mmx")
    assert done.returncode == 1
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("RuntimeError")]
    assert "mmx" in message
    for name in _core.available_isas():
        assert name in message


@pytest.mark.parametrize("name", [*_core.available_isas(), ""])
def test_forced_isa_reports_itself(run_python, name: str) -> None:
    code = "import fastembed, json; print(json.dumps([fastembed.isa.active(), fastembed.isa.active_kernels()]))"
    done = run_python(code, FASTEMBED_ISA=name)
    assert done.returncode == 0, done.stderr
    active, served = json.loads(done.stdout)
    assert active == (name or _core.available_isas()[0])
    ranks = {tier.name: tier.rank for tier in TIERS}
    assert set(served) == set(fastembed.isa.active_kernels())
    assert active in served.values()
    assert all(ranks[tier] <= ranks[active] for tier in served.values())


def test_missing_tier_is_named() -> None:
    missing = [name for name in _core.compiled_isas() if name not in _core.available_isas()]
    for name in missing:
        with pytest.raises(RuntimeError, match=f"'{name}' needs the CPU feature .* available: "):
            _core.select_isa(name)
    if not missing:
        pytest.skip("this machine runs every compiled tier; the emulated tests cover the refusal")
