"""train_word2vec(..., init=...): what is kept, what is added, what is counted, and from where the vectors start."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed
from fastembed import WordVectors, _core
from fastembed._continue import load_initial
from fastembed._corpus import encode_corpus
from reference.sgns import Reference, initial_vector
from reference.tile import TileReference

OLD = [line.split() for line in ["the cat sat on the mat", "a dog ran to the cat", "one bird sang on a tree"]] * 6
NEW = [line.split() for line in ["the fish swam to the cat", "a whale sang a song", "the zebu ate"]] * 6


def train(corpus: Any = NEW, **options: Any) -> WordVectors:
    given = {"vector_size": 12, "epochs": 2, "workers": 1, "min_count": 1, "sample": 0.0, "progress": False, **options}
    return fastembed.train_word2vec(corpus, **{name: value for name, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def old() -> WordVectors:
    return train(OLD)


def counted(corpus: list[list[str]]) -> Counter[str]:
    return Counter(word for sentence in corpus for word in sentence)


def in_order(counts: dict[str, int]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word.encode("utf-8", "surrogatepass")))


def row(wv: WordVectors, word: str, matrix: str = "vectors") -> np.ndarray:
    return np.asarray(getattr(wv, matrix)[wv.key_to_index[word]])


# Vocabulary and counts


def test_counts_are_added_and_order_the_result(old: WordVectors) -> None:
    result = train(init=old)
    total = counted(OLD) + counted(NEW)
    assert result.index_to_key == in_order(total)
    assert result.counts is not None
    assert result.counts.tolist() == [total[word] for word in result.index_to_key]
    assert len(result.history) == 2


def test_min_count_holds_for_new_words_only(old: WordVectors) -> None:
    corpus = [["the", "cat", "rare"], ["mat", "tree", "often", "often", "often"]]
    result = train(corpus, init=old, min_count=3)
    assert set(result.index_to_key) == {*old.index_to_key, "often"}
    assert result.counts is not None
    assert old.counts is not None
    mat = result.counts[result.key_to_index["mat"]] - old.counts[old.key_to_index["mat"]]
    assert mat == 1  # once in the corpus, and trained
    assert not np.array_equal(row(result, "mat"), row(old, "mat"))


def test_max_final_vocab_drops_new_words_only(old: WordVectors) -> None:
    corpus = [["the", "x", "x", "x", "y", "y", "z", "z", "w"]] * 2
    kept = set(train(corpus, init=old, max_final_vocab=len(old) + 2).index_to_key)
    assert kept == {*old.index_to_key, "x"}  # y and z are alike, so both go, as without init
    assert set(train(corpus, init=old, max_final_vocab=len(old) + 3).index_to_key) == kept | {"y", "z"}
    assert set(train(corpus, init=old, max_final_vocab=len(old)).index_to_key) == set(old.index_to_key)
    with pytest.raises(ValueError, match=f"max_final_vocab is 3 but init has {len(old)} words"):
        train(corpus, init=old, max_final_vocab=3)


_WORD = st.sampled_from(["a", "b", "c", "dd", "é", "a-word-of-more-than-fifteen-bytes", "7", "\u2028"])


@settings(max_examples=60)
@given(
    known=st.dictionaries(st.one_of(_WORD, st.text(max_size=3)), st.integers(0, 5), max_size=8),
    corpus=st.lists(st.lists(_WORD, min_size=1, max_size=6), min_size=1, max_size=6),
    min_count=st.integers(1, 3),
    workers=st.integers(1, 3),
)
def test_encoding_against_known_words(
    known: dict[str, int], corpus: list[list[str]], min_count: int, workers: int
) -> None:
    initial, _ = load_initial(
        WordVectors(np.zeros((len(known), 2), np.float32), list(known), counts=list(known.values())),
        None,
        None,
        "float32",
    )
    assert initial is not None
    seen = counted(corpus)
    total = {word: seen[word] + known.get(word, 0) for word in {*seen, *known}}
    total = {word: count for word, count in total.items() if word in known or seen[word] >= min_count}
    kept = [[word for word in sentence if word in total] for sentence in corpus]
    if len(total) < 2 or not any(kept):
        with pytest.raises(ValueError, match="vocabulary"):
            encode_corpus(corpus, min_count=min_count, known=initial)
        return
    encoded = encode_corpus(corpus, min_count=min_count, known=initial, workers=workers)
    assert encoded.words == in_order(total)
    assert encoded.counts.tolist() == [total[word] for word in encoded.words]
    borders = encoded.offsets.tolist()
    sentences = [[encoded.words[i] for i in encoded.ids[a:b]] for a, b in pairwise(borders)]
    assert sentences == [sentence for sentence in kept if sentence]
    of_corpus = np.bincount(encoded.ids, minlength=len(encoded.words))
    assert np.array_equal(initial.corpus_counts(encoded), of_corpus)


def test_files_are_encoded_against_known_words_too(tmp_path: Path, old: WordVectors) -> None:
    (tmp_path / "new.txt").write_text("\n".join(" ".join(sentence) for sentence in NEW))
    from_file, from_lists = train(str(tmp_path / "new.txt"), init=old), train(NEW, init=old)
    assert from_file.index_to_key == from_lists.index_to_key
    assert np.array_equal(from_file.vectors, from_lists.vectors)


def test_ids_are_their_decimal_numbers() -> None:
    offsets = np.array([0, 4, 8])
    first = train((np.array([5, 7, 5, 9, 5, 7, 9, 9]), offsets))
    assert set(first.index_to_key) == {"5", "7", "9"}
    second = train((np.array([7, 7, 7, 12, 7, 7, 12, 7], dtype=np.uint16), offsets), init=first)
    assert second.index_to_key == ["7", "5", "9", "12"]
    assert second.counts is not None
    assert second.counts.tolist() == [8, 3, 3, 2]
    assert not np.array_equal(row(second, "7"), row(first, "7"))
    assert np.array_equal(row(second, "5"), row(first, "5"))


def test_words_that_no_corpus_can_hold_are_kept() -> None:
    odd = ["\ud800", "", "with space", "line\nfeed", "\x00", "the"]
    init = WordVectors(np.ones((6, 4), np.float32), odd, counts=[9, 8, 7, 6, 5, 4])
    result = train(NEW, init=init, vector_size=None)
    assert set(odd) < set(result.index_to_key)
    assert np.array_equal(row(result, "\ud800"), np.ones(4))


# Vectors


def test_words_that_are_not_in_the_corpus_change_as_negatives_only(old: WordVectors) -> None:
    result = train(init=old)
    absent = set(counted(OLD)) - set(counted(NEW))
    assert absent
    assert all(np.array_equal(row(result, word), row(old, word)) for word in absent)
    assert any(
        not np.array_equal(row(result, word, "output_vectors"), row(old, word, "output_vectors")) for word in absent
    )
    without_counts = WordVectors(old.vectors, old.index_to_key, output_vectors=old.output_vectors)
    for exponent in (0.75, 0.0, -1.0):
        result = train(init=without_counts, ns_exponent=exponent)
        for word in absent:
            assert np.array_equal(row(result, word, "output_vectors"), row(old, word, "output_vectors"))
        assert result.counts is not None
        assert {word: int(count) for word, count in zip(result.index_to_key, result.counts, strict=True)} == {
            **dict.fromkeys(absent, 0),
            **counted(NEW),
        }


@pytest.mark.parametrize("seed", [1, 2**64 - 1])
def test_new_words_start_from_values_of_their_own(old: WordVectors, seed: int) -> None:
    """Not from the values that an old word of the same index once started from."""
    frozen = {"alpha": 1e-30, "min_alpha": 0.0, "epochs": 1, "seed": seed}
    result = train(init=old, **frozen)
    new = [word for word in result.index_to_key if word not in old]
    assert new == [word for word in result.index_to_key if word in set(counted(NEW)) - set(counted(OLD))]
    for number, word in enumerate(new, start=len(old)):
        assert np.array_equal(row(result, word), initial_vector(seed, number, 12))
        assert np.abs(row(result, word, "output_vectors")).max() < 1e-25
    for word in old:
        assert np.array_equal(row(result, word), row(old, word))
        before = row(old, word, "output_vectors")
        np.testing.assert_allclose(row(result, word, "output_vectors"), before, rtol=0, atol=1e-25)


CASES: dict[str, dict[str, Any]] = {
    "skip-gram, window": {"alpha": 0.1, "negative_sharing": "window"},
    "skip-gram, tile": {"alpha": 0.05, "negative_sharing": "tile"},
    "CBOW, tile": {"sg": False, "alpha": 0.05, "negative_sharing": "tile"},
    "skip-gram, pair, subsampled": {"alpha": 0.1, "negative_sharing": "pair", "sample": 0.02},
    "CBOW": {"sg": False, "alpha": 0.1, "sample": 0.02, "seed": 5, "negative_sharing": "window"},
    "other exponent": {"ns_exponent": -0.5, "window": 2, "negative": 7, "negative_sharing": "window"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_outputs", [True, False])
@pytest.mark.parametrize("with_counts", [True, False])
def test_a_continued_run_equals_the_reference(
    old: WordVectors, case: str, with_outputs: bool, with_counts: bool
) -> None:
    init = WordVectors(
        old.vectors,
        old.index_to_key,
        counts=old.counts if with_counts else None,
        output_vectors=old.output_vectors if with_outputs else None,
    )
    options = {"vector_size": 12, "epochs": 2, "sample": 0.0, **CASES[case]}
    seen = counted(NEW)
    total = {word: seen[word] for word in {*seen, *old.index_to_key}}
    if with_counts:
        total = {word: count + counted(OLD)[word] for word, count in total.items()}
    words = in_order(total)
    start, output_start, new_words = np.zeros((len(words), 12)), np.zeros((len(words), 12)), len(old)
    for index, word in enumerate(words):
        if word in old:
            start[index] = row(old, word)
            output_start[index] = row(old, word, "output_vectors") if with_outputs else 0.0
        else:
            start[index] = initial_vector(options.get("seed", 1), new_words, 12)
            new_words += 1
    tile = options.get("negative_sharing") == "tile"
    want = (TileReference if tile else Reference)(
        np.array([words.index(word) for sentence in NEW for word in sentence]),
        np.cumsum([0] + [len(sentence) for sentence in NEW]),
        np.array([total[word] for word in words]),
        input_start=start,
        output_start=output_start,
        corpus_counts=np.array([seen[word] for word in words]),
        **options,
    ).train()
    # Not every instruction set has float32 products in its tile step.
    before = fastembed.isa.active()
    _core.select_isa("avx2" if tile and before in ("avx512bf16", "amx") else before)
    try:
        got = train(init=init, **options)
    finally:
        _core.select_isa(before)
    assert got.index_to_key == words
    assert got.output_vectors is not None
    np.testing.assert_allclose(got.vectors, want.input, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got.output_vectors, want.output, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([record["loss"] for record in got.history], want.losses, rtol=1e-5)


def test_init_is_not_changed(old: WordVectors) -> None:
    before = [np.array(old.vectors), np.array(old.output_vectors), np.array(old.counts), list(old.index_to_key)]
    history = [dict(record) for record in old.history]
    train(init=old)
    after = [old.vectors, old.output_vectors, old.counts, old.index_to_key]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert old.history == history


def test_the_learning_rate_starts_anew(old: WordVectors) -> None:
    assert [record["learning_rate"] for record in train(init=old).history] == [
        record["learning_rate"] for record in old.history
    ]


def test_training_goes_on_rather_than_starting_again(old: WordVectors) -> None:
    loss = train(OLD, alpha=0.1, epochs=20)
    first = train(OLD, alpha=0.05).history[0]["loss"]
    assert train(OLD, init=loss, alpha=0.05).history[0]["loss"] < 0.9 * first


def test_a_lineage_of_continuations(old: WordVectors) -> None:
    second = train(NEW, init=old)
    third = train([["the", "newest", "words"]] * 3, init=second)
    assert len(third) == len(second) + 2
    assert np.array_equal(row(third, "zebu"), row(second, "zebu"))


# Arguments


def test_init_may_be_a_path(tmp_path: Path, old: WordVectors) -> None:
    old.save(tmp_path / "store")
    expected = train(init=old)
    for path in (tmp_path / "store", str(tmp_path / "store")):
        assert np.array_equal(train(init=path).vectors, expected.vectors)
    old.save_word2vec_format(tmp_path / "file.bin", binary=True)
    assert len(train(init=tmp_path / "file.bin")) == len(expected)
    result = train(init=tmp_path / "store")
    result.save(tmp_path / "store")  # in place of what it was made from
    assert WordVectors.load(tmp_path / "store").index_to_key == expected.index_to_key


def test_vector_size_is_that_of_init(old: WordVectors) -> None:
    assert train(init=old, vector_size=None).vector_size == 12
    assert train(init=old, vector_size=None).config["vector_size"] == 12
    with pytest.raises(ValueError, match="vector_size is 100 but init has vectors of size 12"):
        train(init=old, vector_size=100)
    assert fastembed.train_word2vec(NEW, min_count=1, epochs=1, progress=False).vector_size == 100


def broken(value: float, matrix: str) -> WordVectors:
    tables = {name: np.zeros((3, 12), np.float32) for name in ("vectors", "output_vectors")}
    tables[matrix][1, 4] = value
    return WordVectors(tables["vectors"], ["a", "b", "c"], output_vectors=tables["output_vectors"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"init": [1.0]}, TypeError, "init must be a WordVectors or the path of saved ones, got list"),
        ({"init": np.zeros((2, 2))}, TypeError, "got ndarray"),
        ({"init": "no/such/vectors"}, FileNotFoundError, "there are no vectors at 'no/such/vectors'"),
        ({"init": broken(np.nan, "vectors")}, ValueError, "not finite in its vectors, in the row of 'b'"),
        ({"init": broken(np.inf, "output_vectors")}, ValueError, "not finite in its output_vectors, in the row of 'b'"),
        (
            {"init": broken(65536.0, "vectors"), "precision": "float16"},
            ValueError,
            "above 65504.0, the most that float16 holds, in its vectors, in the row of 'b'",
        ),
        (
            {"init": broken(3.4e38, "output_vectors"), "precision": "bfloat16"},
            ValueError,
            "above 3.3895313892515355e+38, the most that bfloat16 holds, in its output_vectors, in the row of 'b'",
        ),
        ({"init": broken(0.0, "vectors"), "vector_size": True}, TypeError, "vector_size must be an int, got bool"),
        ({"init": broken(0.0, "vectors"), "corpus": [["d"]], "min_count": 2}, ValueError, "no word of the vocabulary"),
        ({"init": broken(0.0, "vectors"), "corpus": []}, ValueError, "empty"),
        (
            {"init": WordVectors(np.zeros((1, 12), np.float32), ["a"], counts=[2**63 - 1])},
            ValueError,
            "init has a count of 9223372036854775807",
        ),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        train(options.pop("corpus", NEW), **{"vector_size": None, **options})


def test_init_without_words_is_no_init() -> None:
    empty = WordVectors(np.zeros((0, 12), np.float32), [])
    assert np.array_equal(train(init=empty, vector_size=None).vectors, train().vectors)


def test_matrices_of_init_are_read_in_place(tmp_path: Path) -> None:
    """200,000 words mapped from the disk: beyond the two matrices of the model there is no third."""
    n_words, size = 200_000, 64
    table = np.zeros((n_words, size), dtype=np.float32)
    WordVectors(table, [f"w{i}" for i in range(n_words)], counts=np.ones(n_words, int)).save(tmp_path / "big")
    del table
    code = (
        "import resource, sys, fastembed\n"
        "from fastembed import _continue\n"
        "init, _ = _continue.load_initial(sys.argv[1], None, None, 'float32')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "wv = fastembed.train_word2vec([['w1', 'w2', 'w3']] * 9, init=init._vectors, epochs=1, workers=1, "
        "progress=False)\n"
        "print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True, check=True
    )
    before, after = map(int, run.stdout.split())
    matrix = n_words * size * 4 / 1024
    if fastembed.show_config()["sanitizers"]:
        pytest.skip("a sanitizer's own memory is counted too")
    assert after - before < 2.0 * matrix + 120 * 1024, f"{after - before} KiB for matrices of {matrix} KiB"
