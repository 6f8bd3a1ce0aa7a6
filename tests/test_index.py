"""`Index`: ids, changes, copies, files, and its behaviour as a whole against a plain dict."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import fastembed
from fastembed import Index
from reference import search as reference
from search_cases import METRICS, assert_same, normal

X, QUERIES = normal(30, 8, seed=1), normal(4, 8, seed=2)


def make(kind: str = "default", metric: str = "cosine") -> Index:
    ids = {
        "default": None,
        "int": [(row * 7) % 31 + 100 for row in range(30)],
        "str": [f"n{30 - r}" for r in range(30)],
    }
    return Index(X, metric, ids=ids[kind])


def check(index: Index, model: dict[Any, np.ndarray], k: int = 7) -> None:
    """The index holds what the dict holds, in its order, and finds what the definition says."""
    assert len(index) == len(model)
    assert index.ids.tolist() == list(model)
    assert index.vectors.shape == (len(model), index.dim)
    if not model:
        assert index.search(QUERIES, k).ids.shape == (4, 0)
        return
    rows = np.stack(list(model.values()))
    np.testing.assert_array_equal(index.vectors, rows)
    keys = list(model)
    order = np.argsort(np.argsort(np.asarray(keys, dtype=object), kind="stable"))
    k = min(k, len(keys))
    scores, found = reference.topk(QUERIES, rows, k, index.metric, order=order)
    assert_same(index.search(QUERIES, k), (scores, np.asarray([[keys[row] for row in part] for part in found])))


# What there is


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["default", "int", "str"])
def test_contents(kind: str, metric: str) -> None:
    index = make(kind, metric)
    check(index, dict(zip(index.ids.tolist(), X, strict=True)))
    assert (len(index), index.dim, index.metric) == (30, 8, metric)
    assert index.ids.dtype == (object if kind == "str" else np.int64)
    assert np.shares_memory(index.vectors, X)
    for array in (index.vectors, index.ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_contains() -> None:
    index = make("int")
    assert 100 in index and np.int64(107) in index and 99 not in index
    for key in ("100", 100.0, None, True, -1, 1 << 70, [100]):
        assert key not in index
    assert "n1" in make("str") and "n0" not in make("str") and 1 not in make("str")


def test_plans_that_are_refused() -> None:
    index = Index(normal(64, 32), accelerate="int8")
    assert index.plan(10**30, 2**63 - 1).scan == "int8"
    with pytest.raises(ValueError, match=f"n_queries must be within int64, got {2**64}"):
        index.plan(3, 2**64)


def test_repr() -> None:
    assert repr(make(metric="l2")) == "<Index: 30 vectors x 8 float32, metric 'l2'>"
    assert repr(make("str")) == "<Index: 30 vectors x 8 float32, metric 'cosine', str ids>"


def test_word_vectors_give_their_words() -> None:
    words = fastembed.WordVectors(X, [f"w{row}" for row in range(30)])
    assert Index(words).search(X[3], 1).ids.tolist() == ["w3"]
    assert Index(words, ids=range(30)).search(X[3], 1).ids.tolist() == [3]


def test_missing_ids() -> None:
    found = make("str").search(QUERIES, 3, filter=["n5"])
    assert found.ids.dtype == object and found.ids[:, 1:].tolist() == [[None, None]] * 4
    assert make("int").search(QUERIES, 3, filter=[100]).ids.tolist() == [[100, -1, -1]] * 4


def test_ties_go_by_id() -> None:
    rows = np.ones((5, 3), dtype=np.float32)
    assert Index(rows, ids=[30, 10, 50, 20, 40]).search(rows[0], 4).ids.tolist() == [10, 20, 30, 40]
    names = ["b", "B", "\U0001f600", "\uffff", "a\0"]  # by code point, not by UTF-16 unit or locale
    index = Index(rows, ids=names)
    assert index.search(rows[0], 5).ids.tolist() == sorted(names)
    index.add(rows[:1], ids=["a"])
    assert index.search(rows[0], 2).ids.tolist() == ["B", "a"]
    assert index.range_search(rows[0], 0.5).ids.tolist() == sorted([*names, "a"])


# Changes


def test_add_gives_ids_never_used_before() -> None:
    index = make()
    assert index.add(X[:2]).tolist() == [30, 31]
    index.remove([31, 5])
    assert index.add(X[0]).tolist() == [32]
    assert index.add(X[:1], ids=[50]).tolist() == [50]
    assert index.add(X[:1]).tolist() == [51]
    assert index.add(X[:1], ids=[31]).tolist() == [31]  # who names it may have it
    assert index.add(np.empty((0, 8), dtype=np.float32)).tolist() == []
    index.remove(index.ids)
    assert index.add(X[:1]).tolist() == [52]
    assert make("int").add(X[:1]).tolist() == [131]


def test_other_ids_do_not_move() -> None:
    index = make()
    before = index.search(X, 1).ids[:, 0].tolist()
    assert before == list(range(30))
    index.remove([3, 4, 29])
    assert index.ids.tolist() == [row for row in range(30) if row not in (3, 4, 29)]
    for row in index.ids:
        assert index.search(X[row], 1).ids[0] == row
    assert 3 not in index and len(index) == 27
    assert index.search(X[0], 100).ids.shape == (27,)


def test_update_keeps_place_and_id() -> None:
    for kind in ("default", "int", "str"):
        index = make(kind)
        model = dict(zip(index.ids.tolist(), X.copy(), strict=True))
        changed = index.ids[[4, 20, 0]]
        index.update(changed, QUERIES[:3])
        model.update(zip(changed.tolist(), QUERIES[:3], strict=True))
        assert index.search(QUERIES[:3], 1).ids[:, 0].tolist() == changed.tolist()
        check(index, model)
        index.update(changed[:1], X[:1])
        model[changed[0]] = X[0]
        assert changed[0] in index
        check(index, model)
    np.testing.assert_array_equal(X, normal(30, 8, seed=1))  # the caller's array is not written to


def test_masks_are_in_the_order_of_ids() -> None:
    index = make("str")
    index.remove(["n30", "n4"])
    index.update(["n7"], QUERIES[:1])
    mask = np.random.default_rng(6).random((4, 28)) < 0.3
    keys = copy.deepcopy(index).ids  # the original keeps its dead rows
    assert len(index._rows.state.ids) == 31
    shared, each = index.search(QUERIES, 5, filter=mask[0]), index.search(QUERIES, 5, filter=mask)
    for row in range(4):
        for found, admitted in ((shared, mask[0]), (each, mask[row])):
            wanted = index.search(QUERIES[row], 5, filter=keys[admitted])
            assert_same((found.scores[row], found.ids[row]), wanted)
    with pytest.raises(ValueError, match=r"filter must have shape \(28,\) or \(4, 28\), got shape \(30,\)"):
        index.search(QUERIES, filter=np.ones(30, dtype=bool))


def test_an_empty_index_takes_any_ids() -> None:
    nothing = np.empty((0, 8), dtype=np.float32)
    index = Index(nothing)
    assert index.add(X[:2]).tolist() == [0, 1]
    index = Index(nothing)
    assert index.add(X[:2], ids=["b", "a"]).tolist() == ["b", "a"]
    assert index.search(X[:2], 1).ids.tolist() == [["b"], ["a"]]
    assert Index(nothing, ids=[]).add(X[:1], ids=[7]).tolist() == [7]


@pytest.mark.parametrize("kind", ["int", "str"])
@pytest.mark.parametrize("way", ["as it is", "compacted", "pickled", "saved"])
def test_an_emptied_index_keeps_the_kind_of_its_ids(kind: str, way: str, tmp_path: Path) -> None:
    index = make(kind)
    index.remove(index.ids)
    if way == "compacted":
        assert index.vectors.shape == (0, 8)
    elif way == "pickled":
        index = pickle.loads(pickle.dumps(index))
    elif way == "saved":
        index.save(tmp_path / "index")
        index = Index.load(tmp_path / "index")
    own, other, got = (["a"], [3], "int") if kind == "str" else ([3], ["a"], "str")
    assert index.add(X[:0], ids=[]).tolist() == []
    with pytest.raises(TypeError, match=f"ids must be {kind}, as those of the index are, got {got}"):
        index.add(X[:1], ids=other)
    assert index.add(X[:1], ids=own).tolist() == own


def test_dead_rows_are_dropped_in_time() -> None:
    index = Index(normal(2000, 4))
    for first in range(0, 1900, 100):
        index.remove(range(first, first + 100))
    assert len(index) == 100 and len(index._rows.state.ids) <= 700
    for _ in range(30):
        index.update(index.ids, normal(100, 4))
    assert len(index._rows.state.ids) <= 700


# What is refused


def test_ids_that_are_wrong() -> None:
    for ids, error, message in [
        ([1, 2], ValueError, "vectors has 3 rows but ids has 2"),
        ([1, 2, 1], ValueError, "ids holds 1 twice, again at position 2"),
        (["a", "b", "b"], ValueError, "ids holds 'b' twice, again at position 2"),
        ([1, -2, 3], ValueError, "ids must not be negative, got -2 at position 1"),
        ([1, 2, 1 << 63], ValueError, f"ids must be within int64, got {1 << 63}"),
        (np.array([1, 2, 1 << 63], dtype=np.uint64), ValueError, f"ids must be within int64, got {1 << 63}"),
        ([1.0, 2.0, 3.0], TypeError, "ids must be all int or all str, got float"),
        ([1, "a", 2], TypeError, "ids must be all int or all str, got int and str"),
        ([True, False, 2], TypeError, "ids must be all int or all str, got bool"),
        (np.array([True, False, True]), TypeError, "ids must be all int or all str, got bool"),
        ([b"a", b"b", b"c"], TypeError, "ids must be all int or all str, got bytes"),
        ("abc", TypeError, "ids must be a sequence of ids, got one str"),
        (5, TypeError, "ids must be a sequence of ids, got one int"),
        (np.zeros((3, 1), dtype=int), ValueError, "ids must have one dimension, got 2-D"),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), TypeError, "ids is a masked array, which has no values where"),
        ({"a", "b", "c"}, TypeError, "ids must be in the order of the rows, got a set, which has none"),
        (frozenset([1, 2, 3]), TypeError, "ids must be in the order of the rows, got a frozenset, which has none"),
    ]:
        with pytest.raises(error, match=message):
            Index(X[:3], ids=ids)
        with pytest.raises(error, match=message):
            Index(X[:0]).add(X[:3], ids=ids)


def test_a_first_add_that_is_refused_changes_nothing() -> None:
    index = Index(X[:0])
    with pytest.raises(ValueError, match="ids holds 'a' twice"):
        index.add(X[:2], ids=["a", "a"])
    assert index.add(X[:2]).tolist() == [0, 1]


def test_the_last_id() -> None:
    last = (1 << 63) - 1
    index = Index(X[:2], ids=[last - 1, 3])
    assert index.add(X[2]).tolist() == [last]
    assert index.add(X[:0]).tolist() == []
    with pytest.raises(ValueError, match="ids must be given, as fewer than 1 ints within int64 follow the greatest id"):
        index.add(X[3])
    assert index.ids.tolist() == [last - 1, 3, last]


def test_ids_are_the_index_s_own() -> None:
    ids = np.arange(10, 13)
    index = Index(X[:3], ids=ids)
    ids[:] = 7
    assert index.ids.tolist() == [10, 11, 12] and 12 in index


def test_sets_of_ids_are_removed() -> None:
    index = make("str")
    index.remove({"n1", "n2"})
    index.remove(frozenset(["n3"]))
    assert len(index) == 27 and "n3" not in index
    with pytest.raises(TypeError, match="ids is a masked array"):
        make().remove(np.ma.array([1, 2], mask=[0, 1]))


def test_ids_of_many_kinds() -> None:
    for ids in (range(3), np.arange(3, dtype=np.uint8), [np.int32(0), 1, 2], iter([0, 1, 2]), {0: 1, 1: 1, 2: 1}):
        assert Index(X[:3], ids=ids).ids.tolist() == [0, 1, 2]
    for ids in (np.array(["a", "b", "c"]), [np.str_("a"), "b", "c"], {"a": 1, "b": 2, "c": 3}.keys()):
        assert list(map(type, Index(X[:3], ids=ids).ids)) == [str] * 3


@pytest.mark.parametrize("kind", ["default", "int", "str"])
def test_changes_that_are_refused_change_nothing(kind: str) -> None:
    index = make(kind)
    known, new = index.ids.tolist()[3], "new" if kind == "str" else 999
    for call, error, message in [
        (lambda: index.add(X[:2], ids=[new, known]), ValueError, f"ids holds {known!r}, which the index holds"),
        (lambda: index.add(X[:2], ids=[new, new]), ValueError, "twice"),
        (lambda: index.add(X[:2], ids=[new]), ValueError, "vectors has 2 rows but ids has 1"),
        (lambda: index.add(X[:, :5]), ValueError, "vectors has dim 5 but index has dim 8"),
        (lambda: index.add([[np.nan] * 8]), ValueError, "vectors holds NaN or infinity in row 0"),
        (lambda: index.remove([known, new]), KeyError, f"ids holds {new!r}, which the index does not"),
        (lambda: index.update([known, new], X[:2]), KeyError, f"ids holds {new!r}, which the index does not"),
        (lambda: index.update([known, known], X[:2]), ValueError, "twice"),
        (lambda: index.update([known], X[:2]), ValueError, "vectors has 2 rows but ids has 1"),
        (lambda: index.update({known}, X[:1]), TypeError, "ids must be in the order of the rows, got a set"),
        (lambda: index.update([known], [[np.inf] * 8]), ValueError, "vectors holds NaN or infinity in row 0"),
        (lambda: index.search(QUERIES, filter=[known, new]), KeyError, f"filter holds {new!r}"),
    ]:
        with pytest.raises(error, match=message):
            call()
        check(index, dict(zip(make(kind).ids.tolist(), X, strict=True)))


def test_ids_of_the_other_kind() -> None:
    with pytest.raises(TypeError, match="ids must be given, as the index has str ids"):
        make("str").add(X[:1])
    with pytest.raises(TypeError, match="ids must be str, as those of the index are, got int"):
        make("str").add(X[:1], ids=[1])
    with pytest.raises(TypeError, match="ids must be int, as those of the index are, got str"):
        make().add(X[:1], ids=["a"])


def test_construction_that_is_refused() -> None:
    with pytest.raises(ValueError, match="metric must be 'cosine', 'dot' or 'l2', got 'euclidean'"):
        Index(X, "euclidean")
    with pytest.raises(ValueError, match=r"vectors must have shape \(n_rows, dim\), got 1-D shape"):
        Index(X[0])


# Copies and files


@pytest.mark.parametrize("kind", ["default", "int", "str"])
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_copies_go_their_own_way(kind: str, twin: Any) -> None:
    index = make(kind)
    index.add(X[:1], ids=["x"] if kind == "str" else [500])
    index.remove(index.ids[:2])
    other = twin(index)
    model = dict(zip(index.ids.tolist(), index.vectors.copy(), strict=True))
    check(other, model)
    key = "y" if kind == "str" else 501
    other.add(QUERIES[:1], ids=[key])
    index.add(X[:1], ids=[key])
    check(other, model | {key: QUERIES[0]})
    check(index, model | {key: X[0]})


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_copies_of_an_empty_index(twin: Any) -> None:
    index = make()
    index.remove(index.ids)
    for empty in (index, Index(X[:0])):
        other = twin(twin(empty))
        check(other, {})
        check(twin(other), {})
        key = other.add(X[:1])[0]
        check(other, {key: X[0]})


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", ["default", "int", "str"])
def test_files(tmp_path: Path, kind: str, mmap: bool) -> None:
    index = make(kind, "l2")
    index.remove(index.ids[5:7])
    index.update(index.ids[:1], QUERIES[:1])
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index", mmap=mmap)
    model = dict(zip(index.ids.tolist(), index.vectors, strict=True))
    check(loaded, model)
    assert loaded.metric == "l2"
    index.save(tmp_path / "index")  # while it is mapped
    key = ["new"] if kind == "str" else None
    assert loaded.add(X[:1], ids=key).tolist() == index.add(X[:1], ids=key).tolist()
    check(loaded, model | {loaded.ids[-1]: X[0]})
    loaded.save(tmp_path / "index")
    check(Index.load(tmp_path / "index", verify=True), model | {loaded.ids[-1]: X[0]})
    assert sorted(os.listdir(tmp_path / "index"))[1:] == ["metadata.json", "norms.3.npy", "vectors.3.npy"]


def test_layout_is_open(tmp_path: Path) -> None:
    make("str").save(tmp_path / "a")
    assert (tmp_path / "a" / "ids.txt").read_text().splitlines() == make("str").ids.tolist()
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "vectors.npy"), X)
    metadata = json.loads((tmp_path / "a" / "metadata.json").read_text())
    assert metadata["format"] == "fastembed.Index" and metadata["metric"] == "cosine"
    make().save(tmp_path / "b")
    assert np.load(tmp_path / "b" / "ids.npy").tolist() == list(range(30))
    Index(np.empty((0, 3), dtype=np.float32)).save(tmp_path / "c")
    assert Index.load(tmp_path / "c").dim == 3


def test_stores_are_not_mixed_up(tmp_path: Path) -> None:
    words = fastembed.WordVectors(X, [f"w{row}" for row in range(30)])
    words.save(tmp_path / "words")
    make().save(tmp_path / "index")
    with pytest.raises(ValueError, match="it holds saved vectors, not an index"):
        Index.load(tmp_path / "words")
    with pytest.raises(ValueError, match="it holds saved vectors, not an index"):
        make().save(tmp_path / "words")
    with pytest.raises(ValueError, match="it holds an index, not saved vectors"):
        fastembed.WordVectors.load(tmp_path / "index")
    with pytest.raises(ValueError, match="it holds an index, not saved vectors"):
        words.save(tmp_path / "index")
    assert len(Index.load(tmp_path / "index")) == len(fastembed.WordVectors.load(tmp_path / "words")) == 30


def test_damage_is_named(tmp_path: Path) -> None:
    make().save(tmp_path / "index")
    for name in ("vectors.npy", "norms.npy", "ids.npy"):
        path = tmp_path / "index" / name
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        with pytest.raises(ValueError, match=f"{name}: {len(data) - 1} bytes, but metadata.json says"):
            Index.load(tmp_path / "index")
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ValueError, match=f"{name}: CRC-32"):
            Index.load(tmp_path / "index", verify=True)
        path.write_bytes(data)
    text = (tmp_path / "index" / "metadata.json").read_text()
    (tmp_path / "index" / "metadata.json").write_text(text.replace('"cosine"', '"manhattan"'))
    with pytest.raises(ValueError, match="unknown metric 'manhattan'"):
        Index.load(tmp_path / "index")


# As a whole


class Changes(RuleBasedStateMachine):
    """Any sequence of changes leaves the index like a dict that went through the same."""

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.index = Index(np.empty((0, 8), dtype=np.float32), "dot")
        self.model: dict[int, np.ndarray] = {}
        self.rng = np.random.default_rng(0)

    def rows(self, count: int) -> np.ndarray:
        return self.rng.integers(-3, 4, (count, 8)).astype(np.float32)  # with many ties

    @rule(target=known, count=st.integers(0, 5))
    def add(self, count: int) -> Any:
        rows = self.rows(count)
        ids = self.index.add(rows).tolist()
        self.model.update(zip(ids, rows, strict=True))
        return multiple(*ids)

    @rule(target=known, keys=st.lists(st.integers(0, 40), unique=True, max_size=4))
    def add_named(self, keys: list[int]) -> Any:
        keys = [key for key in keys if key not in self.model]
        rows = self.rows(len(keys))
        self.index.add(rows, ids=np.asarray(keys, dtype=np.int64))
        self.model.update(zip(keys, rows, strict=True))
        return multiple(*keys)

    @rule(key=consumes(known))
    def remove(self, key: int) -> None:
        if key in self.model:
            self.index.remove([key])
            del self.model[key]

    @rule(key=known)
    def update(self, key: int) -> None:
        if key in self.model:
            row = self.rows(1)
            self.index.update([key], row)
            self.model[key] = row[0]

    @rule()
    def read_vectors(self) -> None:
        assert len(self.index.vectors) == len(self.model)

    @invariant()
    def finds_what_the_definition_says(self) -> None:
        keys = sorted(self.model)
        assert len(self.index) == len(keys)
        if keys:
            rows = np.stack([self.model[key] for key in keys])
            scores, found = reference.topk(QUERIES, rows, min(4, len(keys)), "dot")
            assert_same(self.index.search(QUERIES, 4), (scores, np.asarray(keys)[found]))

    def teardown(self) -> None:
        check(self.index, self.model)


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
