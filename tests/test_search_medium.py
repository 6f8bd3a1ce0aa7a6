"""A few queries at once meet the upper six bits of codes first, where memory is the limit: the same answers, from three
quarters of the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastembed import Index, _core
from reference import search as reference
from search_cases import (
    CODE_KINDS,
    METRICS,
    assert_same,
    coded_of,
    hard,
    medium_topk,
    normal,
    saved_without,
    solved,
    two_clusters,
)

# Enough for a sample, off every block.
ROWS, DIM = 1_339, 72


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_panels_find_what_the_definition_says(kind: str, metric: str, every_isa: str) -> None:
    queries, vectors, scores, rows = solved(kind, metric, (32, ROWS, DIM))
    index = Index(vectors, metric, accelerate="int8")
    for count, k, workers in ((3, 40, 2), (16, 1, 1), (17, 40, 1), (32, 1, 2)):
        found = medium_topk(index, queries[:count], k, workers=workers)
        assert_same(found[:2], (scores[:count, :k], rows[:count, :k]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [65, 128, 300])
def test_sizes_off_every_block(dim: int, metric: str, every_isa: str) -> None:
    for n_rows in (8, 23, 64, 200, 1560):
        queries, vectors, scores, rows = solved("normal", metric, (7, n_rows, dim))
        index = Index(vectors, metric, accelerate="int8")
        wanted = scores[:, :20], rows[:, :20]
        for workers in (1, 2):
            assert_same(medium_topk(index, queries, 20, workers=workers)[:2], wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_range_search_by_six_bits(kind: str, metric: str, every_isa: str) -> None:
    queries, vectors = hard(kind, 12, 411, DIM, seed=32)
    state = Index(vectors, metric, accelerate="int8")
    plain = Index(vectors, metric, accelerate="none")
    codes = coded_of(state).core
    scores = reference.topk(queries, vectors, 60, metric)[0]
    for at in (0, 10, 59):
        threshold = float(np.clip(scores[0, at], -3e38, 3e38))
        found = _core.search_range(queries, vectors, metric, threshold, codes=codes, medium=True)
        wanted = plain.range_search(queries, threshold)
        np.testing.assert_array_equal(found[2], wanted.offsets)
        assert_same((found[3], found[4]), (wanted.scores, wanted.ids))


def test_filters(every_isa: str) -> None:
    """Without a sample: the first rows of each worker are met by whole codes."""
    vectors, queries = normal(12_003, DIM, seed=1), normal(9, DIM, seed=2)
    index = Index(vectors, "dot")
    mask = np.random.default_rng(3).random(len(vectors)) < 0.7
    wanted = reference.topk(queries, vectors, 20, "dot", mask=mask)
    for workers in (1, 2):
        assert_same(medium_topk(index, queries, 20, mask=mask, workers=workers)[:2], wanted)


def test_few_rows_are_left_by_six_bits() -> None:
    queries, vectors = normal(16, 128, seed=1), normal(100_000, 128, seed=2)
    _, candidates, refused, scored = medium_topk(Index(vectors, "dot"), queries, 10)[2] / 16
    assert 100 < candidates < 600
    assert refused > 80
    assert 10 <= scored < 20


def test_rows_that_six_bits_cannot_tell_apart_are_met_by_whole_codes() -> None:
    """Nearer to each other than a step of four, where all rows would be candidates."""
    queries, vectors = two_clusters(8, 60_000, 128, spread=0.01)
    index = Index(vectors, "dot")
    *found, counts = medium_topk(index, queries, 10)
    assert counts[1] / 8 < 20_000
    assert_same(tuple(found), reference.topk(queries, vectors, 10, "dot"))


def test_only_indexes_that_no_cache_holds_are_met_by_six_bits() -> None:
    dim, rows = 256, (64 << 20) // 256
    vectors, queries = normal(1000, dim, seed=1), normal(16, dim, seed=2)
    large = Index(np.tile(vectors, (-(-rows // 1000), 1)), "dot")
    on_tiles = _core.available_isas()[0] == "amx"
    for count, bits in ((1, 4), (3, 6), (16, 6), (32, 6), (33, 8)):
        plan = large.plan(10, count)
        assert plan.row_bits == (bits if on_tiles or bits == 4 else 8)
        if plan.row_bits == 6:
            assert (plan.query_bits, plan.residual_bits, plan.scan_bytes) == (8, 6, len(large) * 192)
    assert Index(vectors, "dot", accelerate="int8").plan(10, 16).row_bits == 8
    found, wanted = large.search(queries, 30), reference.topk(queries, vectors, 1, "dot")
    np.testing.assert_array_equal(found.scores, np.repeat(wanted[0], 30, axis=1))
    np.testing.assert_array_equal(found.ids, wanted[1] + 1000 * np.arange(30))


def test_files_without_quarters_are_read(tmp_path: Path) -> None:
    vectors, queries = normal(ROWS, DIM, seed=1), normal(5, DIM, seed=2)
    index = Index(vectors, "dot", accelerate="int8")
    old = saved_without(index, tmp_path, "code_quarters", 5)
    assert coded_of(old).arrays.coarse is not None and coded_of(old).arrays.quarters is None
    for one in (old, index):
        one.add(normal(100, DIM, seed=3))
    wanted = index.search(queries, 7)
    assert_same(old.search(queries, 7), wanted)
    assert_same(medium_topk(old, queries, 7)[:2], wanted)
    assert_same(medium_topk(index, queries, 7)[:2], wanted)


def test_quarters_need_coarse_codes() -> None:
    coded = coded_of(Index(normal(96, 65), accelerate="int8"))
    codes, groups, squares, *_ = coded.used()
    with pytest.raises(ValueError, match="quarters need coarse"):
        _core.IndexCodes(
            "cosine", coded.mean, codes, *groups[:3], squares, 96, quarters=coded.used().parts()[2]
        )  # fmt: skip
