"""What codes of 8 bits leave over, in 4 bits more, and their upper halves: within the bounds that come with them, and
kept with the rows."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from fastembed import Index, _core
from fastembed._index_codes import CodeArrays, CodedRows
from reference import codes as code_reference
from reference import search as reference
from search_cases import CODE_KINDS, METRICS, assert_same, coded_of, hard, normal, saved_without


def assert_residuals_are_near(index: Index, vectors: np.ndarray) -> None:
    """Codes and residuals together are as near to the turned rows as their errors say, and nearer than codes alone;
    so are the upper halves and the upper six bits of codes, where they are kept."""
    coded = coded_of(index)
    codes, groups, _, stored, coarse, quarters = coded.used()
    rows, dim = coded.rows, vectors.shape[1]
    assert stored is not None and rows == len(vectors) // 8 * 8
    wide = vectors[:rows].astype(np.float64)
    if coded.metric == "cosine":
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        wide = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    scales, lengths, errors, residual_errors, *partial_errors = (np.repeat(group, 8) for group in groups)
    scaled = code_reference.turned(wide - coded.mean) * scales[:, None]
    whole = codes[: rows * coded.stride].reshape(rows, -1)[:, :dim].astype(np.float64) - 128
    refined = whole + (code_reference.nibbles(stored, rows, dim) - 8) / 16
    left = np.linalg.norm(scaled - refined, axis=1)
    # Turning in float32 moves a row by some 2^-21 of its length.
    room = 2.0**-20 * np.linalg.norm(scaled, axis=1)
    assert (left <= residual_errors + room).all()
    assert (np.linalg.norm(refined, axis=1) <= lengths + errors + residual_errors + room).all()
    typical = np.linalg.norm(whole, axis=1) > 0
    assert np.median((residual_errors / errors)[typical]) < 0.1  # a sixteenth, and the greatest of eight
    assert (coarse is not None) == (quarters is not None) == (dim > 64)
    if coarse is None or quarters is None:
        return
    upper = code_reference.nibbles(coarse[:-64], rows, dim)
    six = 4 * upper + code_reference.quarters(quarters, rows, dim)
    np.testing.assert_array_equal(six, (whole.astype(np.int64) + 128) // 4)
    np.testing.assert_array_equal(upper, six // 4)
    for part, part_errors in zip((16 * upper - 120, 4 * six - 126), partial_errors, strict=True):
        left = np.linalg.norm(scaled - part, axis=1)
        assert (left <= part_errors + room).all()
        assert (errors <= part_errors).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [32, 33, 63, 64, 65, 100, 128, 300])
def test_codes_and_residuals_are_near_the_rows(dim: int, metric: str, every_isa: str) -> None:
    vectors = normal(104, dim, seed=dim) * np.float32(37) + np.float32(5)
    assert_residuals_are_near(Index(vectors, metric, accelerate="int8"), vectors)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [48, 72])
def test_residuals_are_kept_with_the_rows(dim: int, metric: str, tmp_path: Path) -> None:
    vectors = normal(1000, dim, seed=4)
    index = Index(vectors[:100], metric, accelerate="int8")
    for begin, end in ((100, 103), (103, 160), (160, 161), (161, 1000)):  # in place, with more room, made anew
        index.add(vectors[begin:end])
        assert_residuals_are_near(index, vectors[:end])
    index.update([5, 77], normal(2, dim, seed=5))
    assert_residuals_are_near(index, index._rows.state.vectors)
    index.remove([3, 999])
    index.save(tmp_path / "index")
    for mmap in (False, True):
        loaded = Index.load(tmp_path / "index", mmap=mmap, verify=True)
        assert_residuals_are_near(loaded, loaded.vectors)
        loaded.add(normal(300, dim, seed=6))
        assert_residuals_are_near(loaded, loaded._rows.state.vectors)
    copied = pickle.loads(pickle.dumps(index))
    assert_residuals_are_near(copied, copied.vectors)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODE_KINDS)
def test_the_same_answers_without_residuals(kind: str, metric: str, every_isa: str) -> None:
    queries, vectors = hard(kind, 40, 403, 64, seed=9)
    index = Index(vectors, metric, accelerate="int8")
    coded = coded_of(index)
    arrays = coded.arrays
    plain = CodedRows(
        coded.kind, coded.metric, coded.mean,
        CodeArrays(arrays.codes, arrays.groups[:3], arrays.squares), coded.rows, coded.built,
    )  # fmt: skip
    for count in (1, 3, 40):
        wanted = reference.topk(queries[:count], vectors, 30, metric)
        for workers in (1, 2):
            index._rows.state.coded = coded
            assert_same(index.search(queries[:count], 30, workers=workers), wanted)
            threshold = float(np.clip(wanted[0][0, 20], -3e38, 3e38))
            found = index.range_search(queries[:count], threshold)
            index._rows.state.coded = plain
            assert_same(index.search(queries[:count], 30, workers=workers), wanted)
            np.testing.assert_array_equal(index.range_search(queries[:count], threshold).ids, found.ids)


def test_residuals_spare_rows() -> None:
    """The definition is asked of hardly more rows than are wanted."""
    queries, vectors = normal(64, 256, seed=1), normal(20_000, 256, seed=2)
    index = Index(vectors, "dot")
    counts, found = np.zeros(4, dtype=np.int64), (np.empty((64, 10), np.float32), np.empty((64, 10), np.int64))
    state = index._rows.state
    _core.search_topk(queries, vectors, "dot", *found, norms=state.norms, codes=coded_of(index).core, counts=counts)
    _, candidates, refused, scored = counts / 64
    assert candidates > 50
    assert refused > 0.3 * candidates
    assert 10 <= scored < 15


def test_no_residuals_where_vectors_are_to_take_little_memory() -> None:
    vectors = normal(4096, 64)
    assert Index(vectors).plan(10, 256).residual_bits == 4
    assert Index(vectors, accelerate="bf16").plan().residual_bits == 0
    for storage in ("float16", "bfloat16", "int8"):
        index = Index(vectors, storage=storage)
        assert (index.plan().scan, index.plan().residual_bits) == ("int8", 0)


def test_files_without_residuals_are_read(tmp_path: Path) -> None:
    """An index that was saved before there were any."""
    vectors, queries = normal(300, 48, seed=1), normal(5, 48, seed=2)
    index = Index(vectors, "dot", accelerate="int8")
    old = saved_without(index, tmp_path, "code_residuals", 3)
    assert (old.plan().scan, old.plan().residual_bits) == ("int8", 0)
    assert_same(old.search(queries, 7), index.search(queries, 7))
    for one in (old, index):
        one.add(normal(100, 48, seed=3))
    assert_same(old.search(queries, 7), index.search(queries, 7))


def test_residuals_of_another_size_are_refused() -> None:
    coded = coded_of(Index(normal(96, 65), accelerate="int8"))
    codes, groups, squares, *kept = coded.used()
    for name, part, errors in zip(("residuals", "coarse", "quarters"), kept, groups[3:], strict=True):
        assert part is not None
        for given in ((part[:-1], errors), (part, errors[:-1])):
            with pytest.raises(ValueError, match=f"{name} or their errors do not have the size"):
                _core.IndexCodes("cosine", coded.mean, codes, *groups[:3], squares, 96, "int8", **{name: given})
        with pytest.raises(TypeError):
            _core.IndexCodes("cosine", coded.mean, codes, *groups[:3], squares, 96, "int8", **{name: (part, None)})
