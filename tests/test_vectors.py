"""WordVectors: construction, look-up, similarity, neighbours."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastembed import TrainingInterrupted
from fastembed.vectors import WordVectors
from reference.evaluation import cosine


def make(n_words: int = 50, vector_size: int = 8, seed: int = 0, **extras: object) -> WordVectors:
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n_words, vector_size)).astype(np.float32)
    return WordVectors(table, [f"w{i}" for i in range(n_words)], **extras)


# Construction


def test_attributes() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    wv = WordVectors(
        table,
        ["a", "b", "c"],
        counts=[3, 2, 1],
        output_vectors=-table,
        history=[{"epoch": 1, "loss": 2.0}],
        config={"x": 1},
    )
    assert wv.vectors.dtype == np.float32 and wv.vectors.flags.c_contiguous
    assert wv.counts is not None and wv.counts.dtype == np.int64 and wv.counts.tolist() == [3, 2, 1]
    assert wv.output_vectors is not None and np.array_equal(wv.output_vectors, -table)
    assert wv.key_to_index == {"a": 0, "b": 1, "c": 2} and wv.index_to_key == ["a", "b", "c"]
    assert wv.history == [{"epoch": 1, "loss": 2.0}] and wv.config == {"x": 1}
    assert len(wv) == 3 and wv.vector_size == 2 and list(wv) == ["a", "b", "c"]
    assert "a" in wv and "z" not in wv and 0 not in wv
    assert repr(wv) == "<WordVectors: 3 words x 2 float32 with counts and output_vectors>"


def test_float32_is_held_without_a_copy_and_read_only() -> None:
    table = np.ones((2, 3), dtype=np.float32)
    wv = WordVectors(table, ["a", "b"])
    assert np.shares_memory(wv.vectors, table)
    with pytest.raises(ValueError, match="read-only"):
        wv.vectors[0, 0] = 2
    assert table.flags.writeable


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_and_layouts_are_converted(dtype: object) -> None:
    table = np.asfortranarray(np.arange(6).reshape(3, 2).astype(dtype))
    wv = WordVectors(table, ["a", "b", "c"])
    assert wv.vectors.dtype == np.float32 and wv.vectors.dtype.isnative and wv.vectors.flags.c_contiguous
    assert wv.vectors.tolist() == table.tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            dict(vectors=np.ones(3, np.float32)),
            ValueError,
            r"vectors must have shape \(n_words, vector_size\), got 1-D",
        ),
        (dict(vectors=np.ones((2, 0), np.float32)), ValueError, "at least one column"),
        (dict(vectors=np.ones((2, 3), np.int32)), TypeError, "vectors must hold floating-point.*int32"),
        (dict(vectors=np.ones((3, 3), np.float32)), ValueError, "vectors has 3 rows but index_to_key has 2 words"),
        (dict(index_to_key=["a", "a"]), ValueError, "holds 'a' twice, at positions 0 and 1"),
        (dict(index_to_key=["a", 1]), TypeError, r"index_to_key\[1\] must be a str, got int"),
        (dict(index_to_key="ab"), TypeError, "sequence of words, got one str"),
        (dict(index_to_key={"a", "b"}), TypeError, "in the order of the rows, got a set, which has none"),
        (dict(vectors=np.ma.masked_less(np.ones((2, 3), np.float32), 2)), TypeError, "vectors is a masked array"),
        (dict(counts=np.ma.masked_less([1, 2], 2)), TypeError, "counts is a masked array"),
        (dict(counts=[1]), ValueError, r"counts must have shape \(2,\).*\(1,\)"),
        (dict(counts=[1.5, 2.0]), TypeError, "counts must hold integers, got dtype float64"),
        (dict(counts=[1, -2]), ValueError, "got -2 at index 1"),
        (
            dict(counts=np.array([1, 2**63 + 5], np.uint64)),
            ValueError,
            "counts must .*, got 9223372036854775813 at index 1",
        ),
        (dict(vectors=[[0.0, 1.0], [np.inf, -1e300]]), ValueError, r"vectors holds -1e\+300 in row 1, .* float32"),
        (dict(output_vectors=np.full((2, 3), 1e39)), ValueError, r"output_vectors holds 1e\+39 in row 0, .* float32"),
        (dict(output_vectors=np.ones((2, 4), np.float32)), ValueError, r"output_vectors has shape \(2, 4\)"),
    ],
)
def test_constructor_refuses(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    valid: dict[str, object] = dict(vectors=np.ones((2, 3), np.float32), index_to_key=["a", "b"])
    with pytest.raises(error, match=message):
        WordVectors(**(valid | arguments))


def test_bfloat16_is_converted() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = np.array([[0.5, -3.0], [1e30, 0.0]], np.float32).astype(ml_dtypes.bfloat16)
    vectors = WordVectors(given, ["a", "b"], output_vectors=given)
    for matrix in (vectors.vectors, vectors.output_vectors):
        assert matrix is not None and matrix.dtype == np.float32
        assert np.array_equal(matrix, given.astype(np.float32))


def test_infinity_and_the_greatest_count_are_taken() -> None:
    table = np.array([[np.inf, -np.inf], [np.nan, 3.4028235e38]])
    wv = WordVectors(table, ["a", "b"], counts=np.array([2**63 - 1, 0], np.uint64))
    assert np.array_equal(wv.vectors, table.astype(np.float32), equal_nan=True)
    assert wv.counts is not None and wv.counts.tolist() == [2**63 - 1, 0]


def test_numpy_strings_become_str() -> None:
    wv = WordVectors(np.ones((2, 3), np.float32), np.asarray(["a", "b"]))
    assert [type(word) for word in wv] == [str, str]


def test_no_words() -> None:
    wv = WordVectors(np.empty((0, 4), np.float32), [])
    assert len(wv) == 0 and wv.similar_by_vector(np.ones(4)) == []
    assert wv[[]].shape == (0, 4)


# Look-up


def test_getitem() -> None:
    wv = make()
    assert np.array_equal(wv["w3"], wv.vectors[3]) and not wv["w3"].flags.writeable
    assert np.shares_memory(wv["w3"], wv.vectors)
    rows = wv[["w3", "w1", "w3"]]
    assert rows.shape == (3, 8) and rows.flags.writeable and np.array_equal(rows, wv.vectors[[3, 1, 3]])
    assert np.array_equal(wv[("w1",)], wv.vectors[[1]])
    assert np.array_equal(wv[np.asarray(["w1", "w2"])], wv.vectors[1:3])
    assert wv.get("w3") is not None and wv.get("nothing") is None and wv.get("nothing", 7) == 7


def test_missing_words_are_named() -> None:
    wv = make()
    with pytest.raises(KeyError, match="'nothing' is not in the vocabulary of 50 words"):
        wv["nothing"]
    with pytest.raises(KeyError, match="'W3' is not in the vocabulary of 50 words; 'w3' is"):
        wv["W3"]
    with pytest.raises(KeyError, match="2 of the 3 words are not in the vocabulary of 50 words: 'x', 'y'"):
        wv[["x", "w1", "y"]]
    with pytest.raises(KeyError, match="and 2 more"):
        wv[list("abcdefg")]
    for query in ("similarity", "most_similar", "doesnt_match"):
        with pytest.raises(KeyError, match="'zz'"):
            {
                "similarity": lambda: wv.similarity("w1", "zz"),
                "most_similar": lambda: wv.most_similar(["w1", "zz"]),
                "doesnt_match": lambda: wv.doesnt_match(["zz"]),
            }[query]()


@pytest.mark.parametrize("key", [3, 1.5, b"w1", None, np.int64(3)])
def test_getitem_refuses_what_is_no_word(key: object) -> None:
    with pytest.raises(TypeError, match=r"a word .* was wanted, got"):
        make()[key]


def test_getitem_refuses_numbers_in_a_list() -> None:
    with pytest.raises(TypeError, match="must be str, got int at position 1"):
        make()[["w1", 2]]


# Similarity


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (2, 5), elements=st.floats(-1e3, 1e3, width=32)))
def test_similarity_equals_the_formula(table: np.ndarray) -> None:
    wv = WordVectors(table, ["a", "b"])
    # float64 throughout; squares of numbers under 1e-150 cannot occur in float32
    expected = cosine(table[0].tolist(), table[1].tolist())
    assert wv.similarity("a", "b") == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert wv.similarity("a", "b") == wv.similarity("b", "a")
    assert wv.similarity("a", "a") == pytest.approx(1.0 if table[0].any() else 0.0)


def test_zero_vectors_have_similarity_zero() -> None:
    table = np.asarray([[0, 0], [1, 0], [-1, 0]], dtype=np.float32)
    wv = WordVectors(table, ["zero", "plus", "minus"])
    assert wv.similarity("zero", "plus") == 0.0 and wv.similarity("zero", "zero") == 0.0
    assert wv.most_similar("plus") == [("zero", 0.0), ("minus", -1.0)]
    assert wv.most_similar("zero") == [("plus", 0.0), ("minus", 0.0)]


def test_extreme_vectors() -> None:
    table = np.asarray([[2e38, 2e38], [1e-45, 0], [1, 1], [np.nan, 1], [np.inf, 0]], dtype=np.float32)
    wv = WordVectors(table, ["huge", "tiny", "one", "nan", "inf"])
    assert wv.similarity("huge", "one") == pytest.approx(1.0)
    assert wv.similarity("tiny", "one") == pytest.approx(0.5**0.5)
    neighbours = wv.most_similar("one", topn=4)
    assert [word for word, _ in neighbours[:2]] == ["huge", "tiny"]
    assert neighbours[0][1] == pytest.approx(1.0, rel=1e-6)


# Neighbours


def brute_force(wv: WordVectors, query: np.ndarray, excluded: set[str], topn: int) -> list[str]:
    scores = {word: cosine(wv[word].tolist(), query.tolist()) for word in wv if word not in excluded}
    return sorted(scores, key=lambda word: (-scores[word], wv.key_to_index[word]))[:topn]


def unit(vector: np.ndarray) -> np.ndarray:
    wide = vector.astype(np.float64)
    return wide / np.linalg.norm(wide)


@pytest.mark.parametrize("n_words", [1, 2, 7, 50, 300])
def test_most_similar_equals_brute_force(n_words: int) -> None:
    wv = make(n_words)
    neighbours = wv.most_similar("w0", topn=10)
    assert [word for word, _ in neighbours] == brute_force(wv, wv["w0"], {"w0"}, 10)
    for word, score in neighbours:
        assert score == pytest.approx(wv.similarity("w0", word), abs=1e-6)
        assert type(word) is str and type(score) is float


def test_most_similar_of_many_keys() -> None:
    wv = make()
    query = unit(wv["w1"]) + unit(wv["w2"]) - unit(wv["w3"])
    expected = brute_force(wv, query, {"w1", "w2", "w3"}, 10)
    assert [word for word, _ in wv.most_similar(["w1", "w2"], ["w3"])] == expected
    assert [word for word, _ in wv.most_similar(positive=("w1", "w2"), negative="w3")] == expected


def test_most_similar_of_arrays_and_weights() -> None:
    wv = make()
    vector = np.arange(8, dtype=np.float64)
    assert [word for word, _ in wv.most_similar(vector)] == brute_force(wv, vector, set(), 10)
    assert wv.most_similar(vector) == wv.similar_by_vector(vector) == wv.similar_by_vector(list(vector))
    assert wv.most_similar(np.stack([vector, vector])) == wv.most_similar([vector, vector])
    query = 2.0 * unit(wv["w1"]) - 0.5 * unit(wv["w2"]) + 3.0 * vector
    expected = brute_force(wv, query, {"w1", "w2"}, 10)
    got = wv.most_similar([("w1", 2.0), (vector, 3)], [("w2", -0.5)])
    assert [word for word, _ in got] == expected
    assert wv.most_similar(("w1", 2.0)) == wv.most_similar("w1")


def test_topn_is_clipped_and_prefix() -> None:
    wv = make(20)
    everything = wv.most_similar("w0", topn=1000)
    assert len(everything) == 19
    for topn in (0, 1, 5, 18, 19, 20):
        assert wv.most_similar("w0", topn=topn) == everything[:topn]
    assert all(int(word[1:]) < 5 for word, _ in wv.most_similar("w0", restrict_vocab=5))
    assert len(wv.most_similar("w0", restrict_vocab=5)) == 4
    assert len(wv.most_similar("w10", restrict_vocab=5)) == 5


def test_ties_are_ordered_by_index() -> None:
    table = np.asarray([[1, 0], [0, 2], [2, 0], [0, 4], [0, 1], [4, 0], [-1, 0], [0, -8]], dtype=np.float32)
    wv = WordVectors(table, list("abcdefgh"))
    assert [word for word, _ in wv.most_similar("a", topn=7)] == list("cfbdehg")
    for topn in range(8):
        assert [word for word, _ in wv.most_similar("a", topn=topn)] == list("cfbdehg")[:topn]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.int8, st.tuples(st.integers(2, 40), st.just(3)), elements=st.integers(-2, 2)), st.data())
def test_permuting_rows_permutes_neighbours(table: np.ndarray, data: st.DataObject) -> None:
    words = [f"w{i}" for i in range(len(table))]
    order = data.draw(st.permutations(range(len(table))))
    plain = WordVectors(table.astype(np.float32), words)
    mixed = WordVectors(table[order].astype(np.float32), [words[i] for i in order])
    expected = sorted((round(score, 5), word) for word, score in plain.most_similar("w0", topn=len(table)))
    assert sorted((round(score, 5), word) for word, score in mixed.most_similar("w0", topn=len(table))) == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda wv: wv.most_similar(), ValueError, "at least one word"),
        (lambda wv: wv.most_similar("w1", topn=-1), ValueError, "topn must not be negative, got -1"),
        (lambda wv: wv.most_similar("w1", topn=1.5), TypeError, "topn must be an int, got float"),
        (lambda wv: wv.most_similar("w1", restrict_vocab=-1), ValueError, "restrict_vocab must not be negative"),
        (lambda wv: wv.most_similar(np.ones(3)), ValueError, r"shape \(8,\) was wanted, got shape \(3,\)"),
        (lambda wv: wv.most_similar([3]), ValueError, r"shape \(8,\) was wanted, got shape \(\)"),
        (lambda wv: wv.most_similar([None]), TypeError, "a word or a vector of numbers was wanted, got NoneType"),
        (lambda wv: wv.doesnt_match([]), ValueError, "at least one word"),
        (lambda wv: wv.doesnt_match("w1"), TypeError, "got one str"),
    ],
)
def test_queries_refuse(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(make())


def test_doesnt_match() -> None:
    table = np.asarray([[1, 0], [1, 0.1], [1, -0.1], [0, 1]], dtype=np.float32)
    wv = WordVectors(table, ["cat", "dog", "cow", "car"])
    assert wv.doesnt_match(["cat", "dog", "car", "cow"]) == "car"
    assert wv.doesnt_match(["car"]) == "car"


def test_gensim_gives_the_same_answers() -> None:
    models = pytest.importorskip("gensim.models")
    wv = make(500, 20)
    kv = models.KeyedVectors(20)
    kv.add_vectors(list(wv), np.array(wv.vectors))
    vector = np.asarray(wv["w7"]) * 3
    queries = [
        dict(positive="w1"),
        dict(positive=["w1", "w2"], negative=["w3"]),
        dict(positive=[("w1", 0.5), "w2"], negative=[("w3", -2.0)]),
        dict(positive=[vector, "w2"], topn=25),
        dict(positive=["w450"], restrict_vocab=100),
        dict(positive=[], negative=["w5"]),
    ]
    for query in queries:
        ours, theirs = wv.most_similar(**query), kv.most_similar(**query)
        assert [word for word, _ in ours] == [word for word, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-6)
    assert wv.similarity("w1", "w2") == pytest.approx(float(kv.similarity("w1", "w2")), abs=1e-6)
    assert wv.doesnt_match(["w1", "w2", "w3"]) == kv.doesnt_match(["w1", "w2", "w3"])


# Copies and threads


def test_pickle_and_copy() -> None:
    wv = make(counts=range(50), history=[{"epoch": 1}], config={"window": 5})
    for twin in (pickle.loads(pickle.dumps(wv)), copy.deepcopy(wv)):
        assert np.array_equal(twin.vectors, wv.vectors) and not twin.vectors.flags.writeable
        assert twin.index_to_key == wv.index_to_key and np.array_equal(twin.counts, wv.counts)
        assert twin.output_vectors is None and twin.history == wv.history and twin.config == wv.config
        assert twin.most_similar("w1") == wv.most_similar("w1")


@pytest.mark.parametrize("checkpoint", [None, "run"])
def test_an_interrupt_is_pickled_and_copied_with_its_vectors(checkpoint: str | None) -> None:
    interrupt = TrainingInterrupted(make(), 3, checkpoint)
    interrupt.note = "mine"
    for twin in (pickle.loads(pickle.dumps(interrupt)), copy.copy(interrupt), copy.deepcopy(interrupt)):
        assert type(twin) is TrainingInterrupted and str(twin) == str(interrupt)
        assert (twin.epochs_done, twin.checkpoint) == (3, checkpoint)
        assert np.array_equal(twin.vectors.vectors, interrupt.vectors.vectors)
        assert twin.note == "mine"


def test_readers_in_many_threads() -> None:
    wv, expected = make(2000), make(2000).most_similar("w1")
    start = threading.Barrier(8)
    results: list[object] = []

    def ask() -> None:
        start.wait()
        results.append(wv.most_similar("w1"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8
