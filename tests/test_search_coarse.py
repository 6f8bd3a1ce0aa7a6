"""Single queries meet the upper halves of codes first: the same answers, from half the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastembed import Index, _core
from reference import search as reference
from search_cases import CODE_KINDS, METRICS, assert_same, coded_of, hard, normal, saved_without, solved, two_clusters

# As many rows as it takes before thresholds are trusted (4,096 a worker), twice.
ROWS, DIM = 12_003, 72


def counted(index: Index, query: np.ndarray, k: int) -> np.ndarray:
    state = index._rows.state
    counts, found = np.zeros(4, dtype=np.int64), (np.empty((1, k), np.float32), np.empty((1, k), np.int64))
    given = {"norms": state.norms, "codes": coded_of(index).core, "counts": counts}
    _core.search_topk(query[None], state.vectors, "dot", *found, **given)
    return counts


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_single_queries_find_what_the_definition_says(kind: str, metric: str, every_isa: str) -> None:
    queries, vectors, scores, rows = solved(kind, metric, (2, ROWS, DIM))
    index = Index(vectors, metric, accelerate="int8")
    assert index.plan(10, 1)[:3] == ("int8", 4, 8)
    for k in (1, 40):
        wanted = scores[:, :k], rows[:, :k]
        for workers in (1, 2):
            for i in range(2):
                found = index.search(queries[i], k, workers=workers)
                assert_same(found, (wanted[0][i], wanted[1][i]))
            assert_same(index.search(queries, k, workers=workers), wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [65, 100, 128, 129, 300])
def test_sizes_off_every_block(dim: int, metric: str, every_isa: str) -> None:
    for n_rows in (8, 23, 64, 200, 3080, 9001):
        queries, vectors, *wanted_all = solved("normal", metric, (2, n_rows, dim))
        index = Index(vectors, metric, accelerate="int8")
        scores, rows = (every[:, :20] for every in wanted_all)
        for workers in (1, 2):
            assert_same(index.search(queries, 20, workers=workers), (scores, rows))
        for i, at in enumerate((len(rows[0]) - 1, 0)):  # thresholds that are known from the first row on
            threshold = float(scores[i, at])
            found = index.range_search(queries[i], threshold)
            count = len(found.ids)
            assert count >= at + 1
            wanted = rows[i, :count] if count <= len(rows[i]) else rows[i]
            np.testing.assert_array_equal(found.ids[: len(wanted)], wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_range_search_by_upper_halves(kind: str, metric: str, every_isa: str) -> None:
    queries, vectors = hard(kind, 3, 411, DIM, seed=22)
    index, plain = (Index(vectors, metric, accelerate=mode) for mode in ("int8", "none"))
    scores = reference.topk(queries, vectors, 60, metric)[0]
    for i in range(3):
        for at in (0, 10, 59):
            threshold = float(np.clip(scores[i, at], -3e38, 3e38))
            found, wanted = index.range_search(queries[i], threshold), plain.range_search(queries[i], threshold)
            assert_same((found.scores, found.ids), (wanted.scores, wanted.ids))


def test_filters_and_removed_rows() -> None:
    vectors, queries = normal(ROWS, DIM, seed=1), normal(2, DIM, seed=2)
    index, plain = (Index(vectors, "dot", accelerate=mode) for mode in ("int8", "none"))
    mask = np.random.default_rng(3).random(ROWS) < 0.7
    assert_same(index.search(queries[0], 20, filter=mask), plain.search(queries[0], 20, filter=mask))
    for one in (index, plain):
        one.remove(np.arange(0, ROWS, 3))
        one.update([1, 10_000], normal(2, DIM, seed=4))
        one.add(normal(5000, DIM, seed=5))
    assert_same(index.search(queries, 20), plain.search(queries, 20))


def test_few_rows_are_left_by_upper_halves() -> None:
    query, vectors = normal(1, 128, seed=1)[0], normal(100_000, 128, seed=2)
    _, candidates, refused, scored = counted(Index(vectors, "dot"), query, 10)
    assert 300 < candidates < 10_000  # by whole codes some 150
    assert refused > 0.5 * candidates
    assert 10 <= scored < 20


def test_rows_that_upper_halves_cannot_tell_apart_are_met_by_codes() -> None:
    """Nearer to each other than a step of 16, where all rows would be candidates."""
    queries, vectors = two_clusters(1, 60_000, 128, spread=0.05)
    index = Index(vectors, "dot")
    candidates = counted(index, queries[0], 10)[1]
    assert candidates < 20_000
    assert_same(index.search(queries, 10), reference.topk(queries, vectors, 10, "dot"))


def test_short_and_narrow_vectors_have_no_upper_halves() -> None:
    assert coded_of(Index(normal(4096, 64))).arrays.coarse is None
    assert coded_of(Index(normal(4096, 65))).arrays.coarse is not None
    for options in ({"storage": "float16"}, {"storage": "int8"}, {"accelerate": "bf16"}):
        assert coded_of(Index(normal(4096, 65), **options)).arrays.coarse is None


def test_the_plan_tells_what_is_read() -> None:
    index = Index(normal(8000, 100), "dot")
    assert (index.plan(10, 1).row_bits, index.plan(10, 1).residual_bits, index.plan(10, 1).scan_bytes) == (
        4,
        8,
        512_000,
    )
    assert (index.plan(10, 3).row_bits, index.plan(10, 3).residual_bits, index.plan(10, 3).scan_bytes) == (
        8,
        4,
        800_000,
    )
    assert Index(normal(4096, 100), "dot").plan(10, 1).row_bits == 8
    short = Index(normal(8000, 64), "dot").plan(10, 1)
    assert (short.row_bits, short.query_bits, short.residual_bits, short.scan_bytes) == (8, 16, 4, 512_000)


def test_mapped_codes_that_do_not_stay_in_memory_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, query = normal(ROWS, DIM, seed=1), normal(1, DIM, seed=2)[0]
    index = Index(vectors, "dot")
    index.save(tmp_path / "index")
    wanted = index.search(query, 7)
    nbytes = sum(array.nbytes for array in coded_of(index).arrays.each()[:1] + coded_of(index).arrays.each()[-3:])
    for available, row_bits in ((2 * nbytes, 4), (2 * nbytes - 2, 8)):
        monkeypatch.setattr("fastembed._index_storage.available_memory", lambda available=available: available)
        mapped = Index.load(tmp_path / "index")
        assert mapped.plan(10, 1).row_bits == row_bits
        assert_same(mapped.search(query, 7), wanted)
        assert Index.load(tmp_path / "index", mmap=False).plan(10, 1).row_bits == 4
        mapped.save(tmp_path / f"again {row_bits}")  # upper halves are kept all the same
        mapped.add(normal(2 * ROWS, DIM, seed=3))  # a copy in memory
        assert mapped.plan(10, 1).row_bits == 4
    monkeypatch.undo()
    assert Index.load(tmp_path / "again 8").plan(10, 1).row_bits == 4


def test_files_without_upper_halves_are_read(tmp_path: Path) -> None:
    vectors, query = normal(ROWS, DIM, seed=1), normal(1, DIM, seed=2)[0]
    index = Index(vectors, "dot")
    old = saved_without(index, tmp_path, "code_coarse", 4)  # and quarters, which are not looked for then
    assert (old.plan(10, 1).row_bits, old.plan(10, 1).residual_bits) == (8, 4)
    for one in (old, index):
        one.add(normal(100, DIM, seed=3))
    assert_same(old.search(query, 7), index.search(query, 7))
