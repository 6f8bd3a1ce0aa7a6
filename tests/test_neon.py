"""The neon tier, cross-compiled and run under the emulator: every kernel against float64 loops."""

from __future__ import annotations

import re

import pytest

import native


@pytest.mark.slow
@pytest.mark.xdist_group("native")
def test_kernel_check_on_aarch64(neon_build: native.Build) -> None:
    emulator = native.require("qemu-aarch64")
    # The scalar tier is the same code as on other processors.
    lines = native.output(emulator, neon_build.kernel_check, "neondot", "neon").splitlines()
    assert re.fullmatch(r"[1-9]\d* checks passed", lines[-1])
    assert [line.split(":")[0] for line in lines[:-1]] == ["neondot", "neon"]
