"""`Index(storage=...)`: what is kept of the vectors, and that every result is that of the float32 it stands for."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastembed
from fastembed import Index, _core
from fastembed._index_elements import Stored, as_stored
from search_cases import KINDS, METRICS, assert_same, assert_same_bits, hard, normal

NARROW = ["float16", "bfloat16", "int8"]
#: Queries, rows, columns: sizes off every block, the last with codes made on the way.
SIZES = [(1, 1, 1), (3, 65, 33), (1, 5003, 7), (5, 4999, 64), (40, 1203, 48), (70, 8203, 40)]


# What is kept


def expected(x: np.ndarray, storage: str) -> np.ndarray:
    """The float32 values that x is kept as, by the words of the documentation."""
    if storage == "float16":
        return x.astype(np.float16).astype(np.float32)
    if storage == "bfloat16":
        coarse = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
        exponents = np.where(coarse == 0, -126, np.frexp(coarse)[1] - 1)
        step = 2.0 ** (np.maximum(exponents, -126) - 7)
        kept = np.rint(x.astype(np.float64) / step) * step  # NumPy rounds ties to even; so small numbers are exact
        return np.copysign(kept, x).astype(np.float32)
    most = np.abs(x).max(axis=1, keepdims=True).astype(np.float64)
    scale = (most / 127).astype(np.float32)
    scale = np.where(scale.astype(np.float64) * 127 < most, np.nextafter(scale, np.float32(np.inf)), scale)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.where(np.isinf(scale * np.float32(127)), np.nextafter(scale, np.float32(0)), scale)
        codes = np.where(scale > 0, np.rint(x / scale), 0).astype(np.int8)
    return codes.astype(np.float32) * scale


def fitting(x: np.ndarray, storage: str) -> np.ndarray:
    """The same in the range of the storage."""
    return np.clip(x, -65504, 65504) if storage == "float16" else x


@pytest.mark.parametrize("storage", NARROW)
@pytest.mark.parametrize("kind", ["normal", "all scales", "denormals", "1e30", "zero rows", "small integers"])
def test_vectors_are_what_the_storage_holds(kind: str, storage: str, every_isa: str) -> None:
    for n_rows, dim in [(1, 1), (3, 7), (40, 17), (65, 33), (257, 100)]:
        x = fitting(hard(kind, 1, n_rows, dim, seed=n_rows)[1], storage)
        index = Index(x, storage=storage)
        assert (index.storage, index.vectors.dtype, index.vectors.shape) == (storage, np.float32, x.shape)
        assert_same_bits(np.asarray(index.vectors), expected(x, storage))
        assert not index.vectors.flags.writeable
        assert not np.shares_memory(index.vectors, x)


def test_every_float16_is_kept_and_the_places_between_are_rounded_to_even() -> None:
    bits = np.arange(0x7C00, dtype=np.uint16)
    halves = bits.view(np.float16).astype(np.float32)
    middles = ((halves[:-1].astype(np.float64) + halves[1:]) / 2).astype(np.float32)
    beside = [np.nextafter(middles, np.float32(towards)) for towards in (0, np.inf)]
    values = np.concatenate([halves, middles, *beside, [65519.0, 65519.996]]).astype(np.float32)
    for x in (values, -values):
        assert_same_bits(np.asarray(Index(x[:, None], storage="float16").vectors)[:, 0], expected(x, "float16"))


def test_bfloat16_is_rounded_to_even() -> None:
    upper = np.arange(0x7F80, dtype=np.uint32)[:, None] << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32)
    bits = (upper | low)[:-1]
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    for sign in (0, 0x80000000):
        x = (bits | np.uint32(sign)).view(np.float32)
        kept = np.asarray(Index(x, storage="bfloat16").vectors)
        np.testing.assert_array_equal(kept.view(np.uint32), rounded | np.uint32(sign))


def test_int8_of_rows_of_any_size() -> None:
    greatest, least = np.finfo(np.float32).max, np.float32(2.0**-149)
    rows = [[0, 0, 0], [greatest, -greatest, 1], [least, 0, -least], [63 * least, least, 0], [1e-40, -3e-41, 0]]
    rows += [[190 * least, 1 * least, 0], [127, -127, 63.5], [np.nextafter(greatest, np.float32(0)), 1e37, 0]]
    x = np.array(rows, dtype=np.float32)
    kept = np.asarray(Index(x, storage="int8").vectors)
    assert_same_bits(kept, expected(x, "int8"))
    assert np.isfinite(kept).all()
    np.testing.assert_array_equal(kept[0], 0)
    np.testing.assert_array_equal(kept[2:4], x[2:4])  # multiples of the least number there is
    steps = np.abs(x).max(axis=1, keepdims=True).astype(np.float64) / 127
    assert (np.abs(kept.astype(np.float64) - x) <= steps / 2 * (1 + 1e-5) + 2.0**-149).all()
    codes, scales = as_stored("x", x, "int8")
    assert codes.dtype == np.int8 and int(codes.min()) >= -127
    assert scales is not None and scales.dtype == np.float32 and scales.shape == (len(x),)


@pytest.mark.parametrize("storage", NARROW)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        np.asfortranarray,
        lambda x: x[:, ::2],
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
        lambda x: x[::3],
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(">f4"),
        lambda x: (x * 5).astype(np.int64),
        lambda x: x[:2].tolist(),
        lambda x: x[:0],
    ],
)
def test_any_input(view: Callable[[np.ndarray], Any], storage: str) -> None:
    given = view(normal(70_001, 10, seed=3))
    plain = np.ascontiguousarray(np.asarray(given), dtype=np.float32)
    assert_same_bits(np.asarray(Index(given, storage=storage).vectors), expected(plain, storage))


# Results


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", NARROW)
def test_results_are_those_of_the_widened_vectors(storage: str, metric: str, every_isa: str) -> None:
    for size in SIZES:
        queries, x = normal(size[0], size[2], seed=1), normal(size[1], size[2], seed=2)
        index = Index(x, metric, storage=storage)
        widened = Index(index.vectors, metric)
        assert (index.accelerate, index.plan().scan) == ("auto", widened.plan().scan)
        for k, workers in ((1, 1), (10, 2), (100, 1)):
            assert_same(index.search(queries, k, workers=workers), widened.search(queries, k, workers=workers))
            assert_same(index.search(queries[:1], k, workers=workers), widened.search(queries[:1], k))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("accelerate", ["none", "int8", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_hard_data(kind: str, accelerate: str, metric: str, every_isa: str) -> None:
    queries, x = hard(kind, 17, 507, 36, seed=4)
    for storage in NARROW:
        index = Index(fitting(x, storage), metric, accelerate=accelerate, storage=storage)
        widened = Index(index.vectors, metric, accelerate="none")
        for k in (1, 30):
            assert_same(index.search(queries, k), widened.search(queries, k))
            assert_same(index.search(queries[3], k), widened.search(queries[3], k))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", NARROW)
def test_without_codes_and_with_codes_made_on_the_way(storage: str, metric: str, every_isa: str) -> None:
    queries, x = normal(70, 40, seed=5), normal(8200, 40, seed=6)
    index = Index(x, metric, accelerate="none", storage=storage)
    rows, norms = index._rows.state.vectors, index._rows.state.norms
    answers = []
    for accelerate in (True, False):
        for known in (norms, None):
            scores, ids = np.empty((70, 10), dtype=np.float32), np.empty((70, 10), dtype=np.int64)
            bad = _core.search_topk(queries, rows, metric, scores, ids, norms=known, workers=2, accelerate=accelerate)
            assert bad == (-1, -1)
            answers.append((scores, ids))
    wanted = Index(index.vectors, metric, accelerate="none").search(queries, 10)
    for answer in answers:
        assert_same(answer, wanted)
    assert_same(index.search(queries[:3], 10), (wanted.scores[:3], wanted.ids[:3]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", NARROW)
@pytest.mark.parametrize("accelerate", ["none", "int8", "bf16"])
def test_filters_and_ranges(storage: str, metric: str, accelerate: str, every_isa: str) -> None:
    queries, x = normal(9, 40, seed=7), normal(1003, 40, seed=8)
    index = Index(x, metric, accelerate=accelerate, storage=storage)
    widened = Index(index.vectors, metric, accelerate=accelerate)
    rng = np.random.default_rng(9)
    for share in (0.02, 0.2, 0.9):
        for mask in (rng.random(1003) < share, rng.random((9, 1003)) < share, np.flatnonzero(rng.random(1003) < share)):
            assert_same(index.search(queries, 5, filter=mask), widened.search(queries, 5, filter=mask))
            assert_same(
                index.search(queries[:1], 5, filter=mask if mask.ndim == 1 else mask[:1]),
                widened.search(queries[:1], 5, filter=mask if mask.ndim == 1 else mask[:1]),
            )
    scores = widened.search(queries, 1003).scores
    for threshold in np.quantile(scores, [0.01, 0.5, 0.99], method="nearest"):
        found, wanted = (one.range_search(queries, float(threshold)) for one in (index, widened))
        np.testing.assert_array_equal(found.offsets, wanted.offsets)
        assert_same(found[1:], wanted[1:])
        found, wanted = (one.search(queries, 5, threshold=float(threshold)) for one in (index, widened))
        assert_same(found, wanted)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", NARROW)
def test_functions_that_take_an_index(storage: str, metric: str) -> None:
    x = normal(1500, 12, seed=10)
    x[700:] = x[:800] + 0.01 * x[1:801]
    index = Index(x, metric, ids=[f"n{row}" for row in range(1500)], storage=storage)
    index.remove(["n3", "n4"])
    widened = Index(index.vectors, metric, ids=index.ids.tolist())
    threshold = {"cosine": 0.9, "dot": 12.0, "l2": 2.0}[metric]
    for found, wanted in (
        (fastembed.self_topk(index, 4), fastembed.self_topk(widened, 4)),
        (fastembed.self_topk(index, 4, threshold=threshold), fastembed.self_topk(widened, 4, threshold=threshold)),
        (fastembed.topk(x[:3], index, 5), fastembed.topk(x[:3], widened, 5)),
    ):
        assert_same(found, wanted)
    found, wanted = (fastembed.deduplicate(one, threshold) for one in (index, widened))
    assert 0 < len(wanted.kept) < len(index)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    found, wanted = (fastembed.communities(one, threshold, 2) for one in (index, widened))
    assert len(wanted) > 1
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("storage", NARROW)
def test_self_topk_asks_in_blocks(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(normal(300, 12, seed=11), storage=storage)
    wanted = fastembed.self_topk(Index(index.vectors), 4)
    monkeypatch.setattr(fastembed.search, "_SELF_QUERIES", 77)
    monkeypatch.setattr(fastembed.search, "_SELF_ELEMENTS", 1)
    assert_same(fastembed.self_topk(index, 4), wanted)
    empty = Index(normal(0, 12), storage=storage)
    assert fastembed.self_topk(empty, 4).ids.shape == (0, 0)
    assert fastembed.deduplicate(empty, 0.5).kept.shape == (0,)


# Changes, files and copies


def same_index(index: Index, model: dict[Any, np.ndarray]) -> None:
    """The index holds what the storage keeps of the model's rows, and finds what an index of these finds."""
    rows = np.stack(list(model.values()))
    assert index.ids.tolist() == list(model)
    assert_same_bits(np.asarray(index.vectors), expected(rows, index.storage))
    widened = Index(index.vectors, index.metric, ids=list(model), accelerate="none")
    for queries in (rows[:3], normal(2, index.dim, seed=12)):
        assert_same(index.search(queries, 7), widened.search(queries, 7))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("accelerate", ["none", "int8", "bf16"])
@pytest.mark.parametrize("storage", NARROW)
def test_changes(storage: str, accelerate: str, metric: str) -> None:
    x = normal(900, 20, seed=13)
    index = Index(x[:30], metric, accelerate=accelerate, storage=storage)
    model = dict(enumerate(x[:30]))
    rng = np.random.default_rng(14)
    while len(model) < 900:
        begin = len(model)
        end = min(900, begin + int(rng.integers(1, 90)))
        index.add(x[begin:end])
        model.update((row, x[row]) for row in range(begin, end))
        changed = rng.choice(end, 3, replace=False)
        fresh = normal(3, 20, seed=end)
        index.update(changed, fresh)
        model.update(zip(changed.tolist(), fresh, strict=True))
        same_index(index, model)
    gone = rng.choice(900, 600, replace=False).tolist()
    index.remove(gone)  # compacted on the way
    model = {row: vector for row, vector in model.items() if row not in set(gone)}
    same_index(index, model)
    index.add(x[0])
    model[900] = x[0]
    same_index(index, model)
    index.remove(index.ids)
    assert (len(index), index.storage, index.vectors.shape) == (0, storage, (0, 20))
    assert index.add(x[:2]).tolist() == [901, 902]
    same_index(index, {901: x[0], 902: x[1]})


@pytest.mark.parametrize("storage", NARROW)
def test_what_was_given_is_not_held(storage: str) -> None:
    class Owner(np.ndarray):
        pass

    x = normal(50, 8).view(Owner)
    gone = weakref.ref(x)
    index = Index(x, storage=storage)
    del x
    assert gone() is None
    assert len(index) == 50


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("accelerate", ["none", "int8", "bf16"])
@pytest.mark.parametrize("storage", NARROW)
def test_files(storage: str, accelerate: str, metric: str, tmp_path: Path) -> None:
    x, queries = normal(300, 20, seed=15), normal(9, 20, seed=16)
    index = Index(x, metric, accelerate=accelerate, storage=storage)
    for removed in ([], [3, 4, 299]):
        index.remove(removed)
        index.save(tmp_path / "index")
        for mmap in (True, False):
            loaded = Index.load(tmp_path / "index", mmap=mmap, verify=True)
            assert (loaded.storage, loaded.accelerate, loaded.ids.tolist()) == (storage, accelerate, index.ids.tolist())
            assert loaded._rows.state.elements.flags.writeable != mmap  # a mapped file is read-only
            assert_same_bits(np.asarray(loaded.vectors), np.asarray(index.vectors))
            assert_same(loaded.search(queries, 5), index.search(queries, 5))
            loaded.add(x[:3])
            loaded.update([7], x[8])
            assert_same_bits(np.asarray(loaded.vectors)[-3:], expected(x[:3], storage))
            assert_same_bits(np.asarray(loaded.vectors)[7 - 2 * len(removed) // 3], expected(x[8:9], storage)[0])
    metadata = json.loads((tmp_path / "index" / "metadata.json").read_text())
    assert metadata["storage"] == storage
    vectors = np.load(tmp_path / "index" / metadata["files"]["vectors"]["name"])
    assert vectors.itemsize == (1 if storage == "int8" else 2)
    metadata["storage"] = "float8"
    (tmp_path / "index" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"metadata\.json: unknown storage 'float8', wanted one of \('float32', "):
        Index.load(tmp_path / "index")
    metadata["storage"] = "float32"
    (tmp_path / "index" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"float32 of shape .* was wanted, got (float16|uint16|int8)"):
        Index.load(tmp_path / "index")


def test_files_of_before_there_were_storages(tmp_path: Path) -> None:
    index = Index(normal(30, 8, seed=17))
    index.save(tmp_path / "index")
    metadata = json.loads((tmp_path / "index" / "metadata.json").read_text())
    assert metadata.pop("storage") == "float32"
    (tmp_path / "index" / "metadata.json").write_text(json.dumps(metadata))
    loaded = Index.load(tmp_path / "index")
    assert loaded.storage == "float32"
    assert_same(loaded.search(normal(2, 8), 5), index.search(normal(2, 8), 5))


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
@pytest.mark.parametrize("storage", ["float32", *NARROW])
def test_copies(storage: str, twin: Callable[[Index], Index]) -> None:
    index = Index(normal(40, 8, seed=18), "dot", accelerate="int8", storage=storage)
    index.remove([5])
    copied = twin(index)
    fresh = Index(index.vectors, "dot", accelerate="int8", storage=storage)
    assert (copied.storage, copied.accelerate, copied.plan()) == (storage, "int8", fresh.plan())
    assert_same(copied.search(normal(3, 8), 5), index.search(normal(3, 8), 5))
    copied.add(normal(2, 8))
    assert len(index) == 39 and copied.ids.tolist()[-2:] == [40, 41]


def test_pickles_of_before_there_were_storages() -> None:
    index = Index(normal(40, 8))
    state = index.__getstate__()
    assert state.pop("scales") is None
    old = Index.__new__(Index)
    old.__setstate__(state)
    assert_same(old.search(normal(3, 8), 5), index.search(normal(3, 8), 5))


# Telling and refusing


def test_repr_and_plan() -> None:
    x = normal(100, 64)
    assert repr(Index(x, storage="float16")) == "<Index: 100 vectors x 64 float16, metric 'cosine'>"
    assert Index(x).storage == "float32"
    assert Index(x, storage="bfloat16").plan() == ("float32", 16, 32, 0, 2 * 6400, 0)
    assert Index(x, storage="int8").plan() == ("float32", 8, 32, 0, 6400 + 400, 0)
    coded = Index(x, accelerate="int8", storage="float16").plan()
    assert (coded.scan, coded.coded_rows, coded.scan_bytes) == ("int8", 96, 96 * 64 + 4 * 2 * 64)


@pytest.mark.parametrize(("storage", "number"), [("float16", 65520.0), ("float16", -1e30), ("bfloat16", 3.4e38)])
def test_numbers_beyond_the_range(storage: str, number: float) -> None:
    x = normal(200, 8)
    x[150, 3] = number
    pattern = rf"vectors holds {np.float32(number)} in row 150, which is beyond the range of {storage}"
    for given in (x, x.astype(np.float64), np.asfortranarray(x)):
        with pytest.raises(ValueError, match=pattern.replace("+", r"\+")):
            Index(given, storage=storage)
    index = Index(x[:100], storage=storage)
    with pytest.raises(ValueError, match="in row 50, which is beyond"):
        index.add(x[100:])
    with pytest.raises(ValueError, match="in row 0, which is beyond"):
        index.update([4], x[150])
    assert len(index) == 100
    same_index(index, dict(enumerate(x[:100])))


@pytest.mark.parametrize("storage", NARROW)
def test_what_is_refused(storage: str) -> None:
    x = normal(200, 8)
    for bad in (np.nan, np.inf, -np.inf):
        x[150, 3] = bad
        for given in (x, x.astype(np.float64), x.T.copy().T):
            with pytest.raises(ValueError, match="vectors holds NaN or infinity in row 150"):
                Index(given, storage=storage)
    index = Index(x[:100], storage=storage)
    with pytest.raises(ValueError, match="vectors has dim 7 but index has dim 8"):
        index.add(x[:, :7])
    with pytest.raises(ValueError, match=r"vectors must have shape \(n_rows, dim\), got 1-D shape \(8,\)"):
        Index(x[0], storage=storage)
    with pytest.raises(ValueError, match="vectors must have at least one column"):
        Index(x[:, :0], storage=storage)
    with pytest.raises(ValueError, match="vectors must be a vector or a matrix of rows, got 3-D"):
        Index(x.reshape(2, 100, 8), storage=storage)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        Index(np.full((3, 2), 1e60), storage=storage)
    with pytest.raises(TypeError, match="vectors must hold real numbers, got dtype complex64"):
        Index(x.astype(np.complex64), storage=storage)


def test_names_of_storages() -> None:
    with pytest.raises(ValueError, match="storage must be 'float32', 'float16', 'bfloat16' or 'int8', got 'float64'"):
        Index(normal(3, 2), storage="float64")
    with pytest.raises(TypeError, match=r"storage must be .*, got None"):
        Index(normal(3, 2), storage=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Index(normal(3, 2), "dot", None, "float16")  # type: ignore[misc]


def test_rows_of_the_kernels_are_checked() -> None:
    elements, scales = as_stored("x", normal(10, 4), "int8")
    assert scales is not None
    for wrong in (
        lambda: _core.StoredRows("int8", elements, None),
        lambda: _core.StoredRows("int8", elements, scales[:9]),
        lambda: _core.StoredRows("float16", elements.view(np.uint16), scales),
        lambda: _core.StoredRows("int8", elements[0], scales),
        lambda: _core.StoredRows("int8", elements[:, ::2], scales),
        lambda: _core.StoredRows("int4", elements, scales),
        lambda: _core.narrow_rows(normal(10, 4), "int8", elements, None),
        lambda: _core.narrow_rows(normal(10, 4), "int8", elements, scales[:9]),
        lambda: _core.narrow_rows(normal(10, 4), "int8", elements[:9], scales),
        lambda: _core.narrow_rows(normal(10, 3), "int8", elements[:, :3], scales),
    ):
        with pytest.raises(ValueError):
            wrong()
    for wrong in (
        lambda: _core.StoredRows("int8", elements.view(np.uint8), scales),
        lambda: _core.StoredRows("bfloat16", elements, None),
        lambda: _core.row_norms(elements),
        lambda: _core.row_norms(None),
    ):
        with pytest.raises(TypeError):
            wrong()
    rows = Stored(elements, scales).rows
    assert isinstance(rows, _core.StoredRows)
    assert (len(rows), rows.shape, rows.size, rows[2:5].shape) == (10, (10, 4), 40, (3, 4))
    np.testing.assert_array_equal(_core.widen_rows(rows[np.array([7, 1])]), _core.widen_rows(rows)[[7, 1]])


# Memory

HELD = """
import numpy as np, fastembed
def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
rows, dim = 120_000, 256
x = np.zeros((rows, dim), dtype=np.float32)
x[:] = np.random.default_rng(0).standard_normal((1, dim), dtype=np.float32)
x *= np.linspace(0.5, 2, rows, dtype=np.float32)[:, None]
x = x.astype(DTYPE)
fastembed.Index(x[:9000], storage=STORAGE, accelerate=ACCELERATE).search(x[:3], 5)
before = memory()
open("/proc/self/clear_refs", "w").write("5")
index = fastembed.Index(x, storage=STORAGE, accelerate=ACCELERATE)
made = peak() - before
del x
fastembed.self_topk(fastembed.Index(index.vectors[:2000], storage=STORAGE), 3)
query = np.ones((1, dim), dtype=np.float32)
held = memory()
open("/proc/self/clear_refs", "w").write("5")
index.search(query, 10)
index.search(np.ones((100, dim), dtype=np.float32), 10)
print(made / (rows * dim), (held - before) / (rows * dim), (peak() - held) / 2**20)
"""


@pytest.mark.parametrize("accelerate", ["none", "int8", "bf16"])
@pytest.mark.parametrize(("storage", "dtype"), [*zip(NARROW, ("float64", "float32", "float64"), strict=True)])
def test_memory(
    storage: str, dtype: str, accelerate: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """What is held and, on the way, the peak: the narrow elements, codes, 12 bytes a row and a few megabytes."""
    if fastembed.show_config()["sanitizers"]:
        pytest.skip("a sanitizer's own memory is counted too")
    done = run_python(f"DTYPE, STORAGE, ACCELERATE = {dtype!r}, {storage!r}, {accelerate!r}\n" + HELD)
    assert done.returncode == 0, done.stderr
    made, held, searching = map(float, done.stdout.split())
    wanted = (1 if storage == "int8" else 2) + {"none": 0, "int8": 1, "bf16": 2}[accelerate]
    assert wanted - 0.1 < made < wanted + 0.4
    assert held < wanted - np.dtype(dtype).itemsize + 0.4
    assert searching < 16
