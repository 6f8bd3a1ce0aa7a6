"""The neon tier, cross-compiled and run under the emulator: every kernel against float64 loops."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import native


@pytest.mark.slow
def test_kernel_check_on_aarch64(neon_build: native.Build) -> None:
    emulator = native.require("qemu-aarch64")
    # The scalar tier is the same code as on other processors.
    with ThreadPoolExecutor() as threads:
        tiers = ["neondot", "neon"]
        texts = threads.map(lambda tier: native.output(emulator, neon_build.kernel_check, tier), tiers)
        for tier, text in zip(tiers, texts, strict=True):
            checked, total = text.splitlines()
            assert re.fullmatch(r"[1-9]\d* checks passed", total)
            assert re.fullmatch(rf"{tier}: [1-9]\d* checks passed, 0 failed", checked)
