"""What codes of bfloat16 have to themselves: what a plan says of them, their files, and that they tell near rows apart.

That they find what the definition says is tested with the codes of 8 bits in test_search_codes.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import Index, _core
from reference import search as reference
from search_cases import METRICS, assert_same, normal

BFLOAT16_TIERS = {"avx512bf16", "amx"}


def test_plan(every_isa: str) -> None:
    index = Index(normal(9000, 63), accelerate="bf16")
    assert index.accelerate == "bf16"
    panel_bits = 16 if every_isa in BFLOAT16_TIERS else 32
    scan_bytes = 9000 * 2 * 64
    assert index.plan(10, 1) == index.plan(10, 2) == ("bf16", 16, 32, 9000, scan_bytes, 0)
    assert index.plan(10, 3) == index.plan(10, 256) == ("bf16", 16, panel_bits, 9000, scan_bytes, 0)
    assert Index(normal(103, 63), accelerate="bf16").plan() == ("bf16", 16, 32, 96, 96 * 2 * 64 + 7 * 4 * 63, 0)
    assert Index(normal(7, 63), accelerate="bf16").plan().scan == "float32"
    assert fastembed.isa.active_kernels()["scan_bf16_codes"] in {every_isa, "avx512", "avx512bf16"}


def test_auto_keeps_codes_of_8_bits() -> None:
    assert Index(normal(9000, 64)).plan().scan == "int8"


@pytest.mark.parametrize("metric", METRICS)
def test_codes_are_the_vectors_rounded(metric: str) -> None:
    """Lengths are kept by the turn: those of the codes are those of the centered rows, and errors are small."""
    vectors = normal(64, 48, seed=3) * np.float32(1e-3)
    coded = Index(vectors, metric, accelerate="bf16")._rows.state.coded
    assert coded is not None
    bits = coded.arrays.codes[: 64 * coded.stride].view(np.uint16).astype(np.uint32) << 16
    scales, lengths, errors = (np.repeat(group, 8) for group in coded.arrays.groups)
    codes = bits.view(np.float32).reshape(64, 48).astype(np.float64)
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric == "cosine" else vectors
    centered = np.linalg.norm(rows.astype(np.float64) - coded.mean, axis=1)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1) / scales, centered, rtol=2**-8)
    assert (np.linalg.norm(codes, axis=1) <= lengths).all()
    assert (errors <= 2.0**-8 * lengths).all()
    np.testing.assert_array_equal(np.log2(scales) % 1, 0)
    assert ((np.abs(codes).reshape(8, -1).max(axis=1) >= 1) & (np.abs(codes).reshape(8, -1).max(axis=1) <= 2)).all()


def test_near_clusters_are_told_apart() -> None:
    """A scan that keeps few rows: the bound is several times as narrow as that of codes of 8 bits."""
    vectors, queries = normal(4096, 64, seed=1), normal(3, 64, seed=2)
    index = Index(vectors, "dot", accelerate="bf16")
    coded, narrow = index._rows.state.coded, Index(vectors, "dot", accelerate="int8")._rows.state.coded
    assert coded is not None and narrow is not None
    share = {one.kind: float(np.median(one.arrays.groups[2] / one.arrays.groups[1])) for one in (coded, narrow)}
    assert share["bf16"] * 3 < share["int8"]
    assert_same(index.search(queries, 10), reference.topk(queries, vectors, 10, "dot"))


def test_files_say_which_codes_they_hold(tmp_path: Path) -> None:
    index = Index(normal(300, 20), accelerate="bf16")
    index.save(tmp_path / "index")
    saved = json.loads((tmp_path / "index" / "metadata.json").read_text())
    assert saved["accelerate"] == "bf16"
    codes = np.load(tmp_path / "index" / saved["files"]["codes"]["name"])
    assert (codes.dtype, codes.shape) == (np.uint16, (296 * 20 + 32,))
    saved["accelerate"] = "int8"
    (tmp_path / "index" / "metadata.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"codes"):
        Index.load(tmp_path / "index")


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="kind must be 'int8' or 'bf16', got 'fp8'"):
        _core.code_query_bits(1, 32, "fp8")
