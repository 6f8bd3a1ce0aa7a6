"""Search over codes, of 8 bits and bfloat16, finds what the definition says; how an `Index` keeps its codes.

What is bfloat16's alone is in test_search_bf16.py.
"""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import Index, _core
from reference import search as reference
from search_cases import CODE_KINDS, METRICS, assert_same, hard, normal, solved, solved_in_part

KINDS = ("int8", "bf16")
# Queries, rows, columns: sizes off every block.
SIZES = [(1, 8, 1), (2, 17, 3), (3, 65, 33), (5, 257, 100), (17, 500, 64), (40, 1203, 48)]


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_coded_index_is_the_definition(kind: str, metric: str, accelerate: str, every_isa: str) -> None:
    for size in SIZES:
        queries, vectors, scores, rows = solved(kind, metric, size)
        index = Index(vectors, metric, accelerate=accelerate)
        assert index.plan(1, len(queries)).scan == accelerate
        for k in (1, 10, 100):
            for workers in (1, 2):
                assert_same(index.search(queries, k, workers=workers), (scores[:, :k], rows[:, :k]))


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_thresholds_from_a_sample_lose_nothing(kind: str, metric: str, accelerate: str, every_isa: str) -> None:
    # A sample is a quarter of the rows at most.
    queries, vectors, first = solved_in_part(kind, metric, (19, 5003, 40), (0,))
    coded, plain = (Index(vectors, metric, accelerate=mode) for mode in (accelerate, "none"))
    for k in (1, 10):
        wanted = plain.search(queries, k)
        assert_same(coded.search(queries, k, workers=1), wanted)
        assert_same(coded.search(queries, k, workers=2), wanted)
    assert_same((wanted.scores[:1], wanted.ids[:1]), first)
    assert_same(coded.search(queries[:5], 3), (wanted.scores[:5, :3], wanted.ids[:5, :3]))


def test_what_is_left_after_each_stage_is_counted() -> None:
    queries, vectors = normal(64, 48, seed=1), normal(20_000, 48, seed=2)
    state = Index(vectors, "dot")._rows.state
    counts, found = np.zeros(4, dtype=np.int64), (np.empty((64, 10), np.float32), np.empty((64, 10), np.int64))
    _core.search_topk(queries, vectors, "dot", *found, norms=state.norms, codes=state.coded.core, counts=counts)
    sampled, candidates, refused, scored = counts / 64
    assert sampled in (0, 10 + 10 // 4 + 4)  # none where the clock says that a sample does not pay
    assert 0 < refused < candidates < 2000
    assert scored <= candidates - refused
    assert sampled + scored >= 10  # those of the sample are results too
    with pytest.raises(ValueError, match="counts must have 4 elements"):
        _core.search_topk(queries, vectors, "dot", *found, counts=np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_a_set_in_itself_by_thresholds_from_a_sample(metric: str, accelerate: str) -> None:
    vectors = hard("clusters, 1e-4", 1, 3000, 40, seed=2)[1]
    found = fastembed.self_topk(Index(vectors, metric, accelerate=accelerate), 5)
    assert_same(found, fastembed.self_topk(Index(vectors, metric, accelerate="none"), 5))
    assert not (found.ids == np.arange(3000)[:, None]).any()


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_range_search_over_codes_is_the_definition(kind: str, metric: str, accelerate: str, every_isa: str) -> None:
    queries, vectors, scores, rows = solved(kind, metric, SIZES[-2])
    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return
    index = Index(vectors, metric, accelerate=accelerate)
    for threshold in np.quantile(finite, [0.01, 0.5, 0.99], method="nearest"):
        found = index.range_search(queries, float(threshold))
        for query in range(len(queries)):
            within = scores[query] <= threshold if metric == "l2" else scores[query] >= threshold
            begin, end = found.offsets[query : query + 2]
            expected = scores[query][within], rows[query][within]
            assert_same((found.scores[begin:end], found.ids[begin:end]), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["normal", "near ties", "clusters, 1e-4", "common mean", "loud column", "zero rows"])
def test_codes_made_on_the_way_change_nothing(kind: str, metric: str, every_isa: str) -> None:
    asked = (0, 1, 69)
    queries, vectors, expected = solved_in_part(kind, metric, (70, 8203, 33), asked)
    norms = _core.row_norms(vectors)
    answers = []
    for accelerate in (True, False):
        scores, rows = np.empty((70, 10), dtype=np.float32), np.empty((70, 10), dtype=np.int64)
        bad = _core.search_topk(queries, vectors, metric, scores, rows, norms=norms, workers=2, accelerate=accelerate)
        assert bad == (-1, -1)
        answers.append((scores, rows))
    assert_same(*answers)
    assert_same(tuple(part[list(asked)] for part in answers[0]), expected)


def test_bad_rows_are_found_on_the_way() -> None:
    vectors, queries = normal(9000, 40, seed=1), normal(64, 40, seed=2)
    vectors[7777, 3] = np.nan
    with pytest.raises(ValueError, match="index holds NaN or infinity in row 7777"):
        fastembed.topk(queries, vectors, 3)
    unchecked = fastembed.topk(queries, vectors, 3, check_finite=False)
    vectors[7777] = 0
    assert 7777 not in unchecked.ids
    assert_same(unchecked, fastembed.topk(queries, vectors, 3))


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_filters_over_codes(metric: str, accelerate: str, every_isa: str) -> None:
    queries, vectors, _, rows = solved("normal", metric, (17, 500, 64))
    index = Index(vectors, metric, accelerate=accelerate)
    rng = np.random.default_rng(3)
    for share in (0.02, 0.2, 0.9):
        shared, own = rng.random(500) < share, rng.random((17, 500)) < share
        for mask in (shared, own):
            found = index.search(queries, 5, filter=mask)
            for query in range(17):
                admitted = mask if mask.ndim == 1 else mask[query]
                expected = rows[query][admitted[rows[query]]][:5]
                np.testing.assert_array_equal(found.ids[query][: len(expected)], expected)


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_codes_follow_changes(metric: str, accelerate: str) -> None:
    vectors, queries = normal(900, 20, seed=4), normal(20, 20, seed=5)
    index = Index(vectors[:50], metric, accelerate=accelerate)
    rng = np.random.default_rng(6)
    model = {row: vectors[row] for row in range(50)}
    while len(model) < 900:
        begin = len(model)
        end = min(900, begin + int(rng.integers(1, 60)))
        index.add(vectors[begin:end])
        model.update((row, vectors[row]) for row in range(begin, end))
        changed = rng.choice(end, 3, replace=False)
        fresh = normal(3, 20, seed=end)
        index.update(changed, fresh)
        model.update(zip(changed.tolist(), fresh, strict=True))
        coded = index.plan().coded_rows
        assert coded % 8 == 0 and coded + 8 > len(index._rows.state.vectors)
        keys = np.asarray(sorted(model))
        scores, rows = reference.topk(queries, np.stack([model[key] for key in keys.tolist()]), 7, metric)
        assert_same(index.search(queries, 7), (scores, keys[rows]))
    gone = rng.choice(900, 500, replace=False)
    index.remove(gone)
    keys = np.setdiff1d(np.arange(900), gone)
    scores, rows = reference.topk(queries, np.stack([model[key] for key in keys.tolist()]), 7, metric)
    assert_same(index.search(queries, 7), (scores, keys[rows]))


@pytest.mark.parametrize("accelerate", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mmap", [False, True])
def test_codes_are_saved_and_mapped(metric: str, mmap: bool, accelerate: str, tmp_path: Path) -> None:
    vectors, queries = normal(300, 20, seed=7), normal(9, 20, seed=8)
    index = Index(vectors, metric, accelerate=accelerate)
    for removed in ([], [3, 4, 299]):
        if removed:
            index.remove(removed)
        index.save(tmp_path / "index")
        loaded = Index.load(tmp_path / "index", mmap=mmap, verify=True)
        assert (loaded.accelerate, loaded.plan().coded_rows) == (accelerate, len(index) // 8 * 8)
        assert_same(loaded.search(queries, 5), index.search(queries, 5))
        loaded.add(normal(100, 20, seed=9), ids=range(1000, 1100))
        copied = pickle.loads(pickle.dumps(index))
        assert copied.plan() == loaded.plan()._replace(
            coded_rows=copied.plan().coded_rows, scan_bytes=copied.plan().scan_bytes
        )
        copied.add(normal(100, 20, seed=9), ids=range(1000, 1100))
        assert_same(loaded.search(queries, 5), copied.search(queries, 5))


@pytest.mark.parametrize("accelerate", KINDS)
def test_saved_codes_are_checked(accelerate: str, tmp_path: Path) -> None:
    Index(normal(300, 20), accelerate=accelerate).save(tmp_path / "index")
    name = tmp_path / "index" / "codes.npy"
    os.truncate(name, os.path.getsize(name) - 1)
    with pytest.raises(ValueError, match=r"codes\.npy: .* cut short"):
        Index.load(tmp_path / "index")


def test_plan_and_modes() -> None:
    vectors = normal(9000, 64)
    assert Index(vectors).plan(10, 256)._replace(query_bits=0) == ("int8", 8, 0, 9000, 9000 * 64, 4)
    assert 6 <= Index(vectors).plan(10, 256).query_bits < Index(vectors).plan(10, 1).query_bits == 16
    assert Index(vectors, accelerate="none").plan() == ("float32", 32, 32, 0, 4 * 9000 * 64, 0)
    assert Index(vectors[:100]).plan().scan == "float32"
    assert Index(vectors[:100], accelerate="int8").plan() == ("int8", 8, 16, 96, 96 * 64 + 4 * 4 * 64, 4)
    assert Index(vectors[:7], accelerate="int8").plan().scan == "float32"
    assert Index(vectors[:, :31]).plan(10, 256).scan == "float32"
    assert isinstance(Index(vectors).plan(), fastembed.Plan)
    growing = Index(vectors[:4000])
    assert growing.plan().coded_rows == 0
    growing.add(vectors[4000:4104])
    assert growing.plan().coded_rows == 4104
    with pytest.raises(ValueError, match="accelerate must be 'auto', 'none', 'int8' or 'bf16', got 'int4'"):
        Index(vectors, accelerate="int4")


def test_auto_reads_float32_where_results_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = normal(9000, 64)
    auto, forced, plain = Index(vectors), Index(vectors, accelerate="int8"), Index(vectors, accelerate="none")
    assert [auto.plan(k, 2).scan for k in (140, 141, 9000)] == ["int8", "float32", "float32"]
    assert [auto.plan(k, 3).scan for k in (45, 46, 9000)] == ["int8", "float32", "float32"]
    assert auto.plan(9000, 3) == plain.plan()
    assert forced.plan(9000, 3).scan == "int8"
    real, told = _core.search_topk, []
    monkeypatch.setattr(_core, "search_topk", lambda *given: told.append(given[13]) or real(*given))
    queries = normal(70, 64, seed=1)
    for k, reads_codes in ((45, True), (46, False)):
        for index in (auto, vectors):  # codes of an index, and those made on the way
            found = fastembed.topk(queries, index, k, metric="cosine")
            assert told.pop() is reads_codes and not told
            assert_same(found, plain.search(queries, k))
            told.clear()
    assert_same(forced.search(queries, 300), plain.search(queries, 300))


@pytest.mark.timed
def test_lists_that_bounds_cannot_shorten_are_not_gone_through_for_every_row() -> None:
    # The lists of 300 stayed full of rows with overlapping bounds: seven times the time of float32.
    vectors, queries = normal(8192, 256) + np.float32(0.5), normal(64, 256, seed=1)
    took = {}
    for accelerate in ("none", "int8"):
        index, times = Index(vectors, accelerate=accelerate), []
        for _ in range(3):
            began = time.perf_counter()
            index.search(queries, 300, workers=1)
            times.append(time.perf_counter() - began)
        took[accelerate] = min(times)
    assert took["int8"] < 4 * took["none"]


@pytest.mark.parametrize("accelerate", KINDS)
def test_codes_of_another_index_are_refused(accelerate: str) -> None:
    index = Index(normal(100, 8), accelerate=accelerate)
    coded = index._rows.state.coded
    assert coded is not None
    out = np.empty((1, 1), dtype=np.float32), np.empty((1, 1), dtype=np.int64)
    with pytest.raises(ValueError, match="codes are not those of index"):
        _core.search_topk(normal(1, 8), normal(50, 8), "cosine", *out, codes=coded.core)
    terms = coded.arrays.groups[:3]
    with pytest.raises(ValueError, match="size that rows asks for"):
        _core.IndexCodes("cosine", coded.mean, coded.arrays.codes[:-300], *terms, None, 96, accelerate)


@pytest.mark.parametrize("dim", [48, 128])
def test_squared_distances_that_codes_cannot_hold(dim: int, every_isa: str) -> None:
    """Thresholds below float32's range, with rows whose squares nearly make up for them."""
    vectors, queries = normal(8192, dim, seed=0) * np.float32(1e-6), normal(8, dim, seed=1) * np.float32(1e-6)
    for place in (100, 4321, 8001):
        vectors[place] *= np.float32(1e17 / np.linalg.norm(vectors[place].astype(np.float64)))
    index, plain = (Index(vectors, "l2", accelerate=mode) for mode in ("int8", "none"))
    for count in (1, 2, 8):
        assert_same(index.search(queries[:count], 8192), plain.search(queries[:count], 8192))
        assert_same(index.search(queries[:count], 10), plain.search(queries[:count], 10))
        found, wanted = (one.range_search(queries[:count], 3e34) for one in (index, plain))
        assert len(wanted.ids) == count * 8192
        assert_same((found.scores, found.ids), (wanted.scores, wanted.ids))
