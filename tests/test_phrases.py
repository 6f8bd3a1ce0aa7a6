"""Finding phrases: counts and scores against the slow reference; workers, memory, wrong use, the command."""

from __future__ import annotations

import gzip
import itertools
import random
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastembed
from fastembed import Phrases, _core, cli
from fastembed._corpus import read_corpus
from phrase_cases import PLAIN, TOPICS, join_file, learn
from reference import phrases as reference
from reference.corpus import sentences_of
from shared_data import shared_path


def check(phrases: Phrases, wanted: dict[tuple[str, str], tuple[int, float]]) -> None:
    assert list(phrases) == list(wanted)
    assert phrases.to_list() == [(*pair, *values) for pair, values in wanted.items()]
    assert phrases.scores == {pair: score for pair, (_, score) in wanted.items()}
    assert phrases.counts == {pair: count for pair, (count, _) in wanted.items()}
    assert len(phrases) == len(wanted)


@pytest.fixture(scope="module")
def topics_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topics") / "topics.txt"
    path.write_bytes(TOPICS)
    return path


# Finding


@pytest.mark.parametrize(("min_count", "threshold"), [(5, 100.0), (5, 10.0), (1, 1000.0), (0, 0.0), (3, 0.5)])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_real_text_equals_the_reference(topics_file: Path, min_count: int, threshold: float, workers: int) -> None:
    wanted = reference.find(sentences_of(TOPICS), min_count, threshold)
    assert len(wanted) > 10
    found = learn(topics_file, min_count=min_count, threshold=threshold, workers=workers)
    check(found, wanted)
    assert found.train_words == len(TOPICS.split())


SENTENCES = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "é", "e f", ""]), max_size=8), max_size=30)


@given(
    sentences=SENTENCES,
    min_count=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 1 / 3]),
    workers=st.integers(1, 4),
)
def test_random_tokens_equal_the_reference(
    sentences: list[list[str]], min_count: int, threshold: float, workers: int
) -> None:
    if not any(sentences):
        with pytest.raises(ValueError, match="the corpus is empty"):
            learn(sentences)
        return
    wanted = reference.find(sentences, min_count, threshold)
    found = learn(iter(sentences), min_count=min_count, threshold=threshold, workers=workers)
    check(found, wanted)
    joined = [reference.join(sentence, set(wanted), "_") for sentence in sentences]
    assert list(found.transform(iter(sentences))) == joined
    assert [found.apply(sentence) for sentence in sentences] == joined


def random_ids(seed: int, tokens: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    ids = (words * generator.random(tokens) ** 3).astype(np.int32)
    borders = np.flatnonzero(generator.random(tokens) < 0.1)
    return ids, np.array([0, *borders, tokens], np.int64)


@pytest.mark.threads
@pytest.mark.parametrize("budget", [0, 100_000, 3_000_000, 1 << 40])
def test_neither_workers_nor_pieces_nor_budget_change_the_result(budget: int) -> None:
    corpus = random_ids(1, 200_000, 300)
    encoded = read_corpus(corpus, min_count=3, break_at_dropped=True)
    sentences = [list(map(str, corpus[0][a:b])) for a, b in itertools.pairwise(corpus[1].tolist())]
    wanted = reference.find(sentences, 2, 0.25)
    assert len(wanted) > 1000
    for workers, chunk_tokens in itertools.product((1, 2, 4), (7_001, 1 << 16)):
        first, second, counts, scores = _core.count_phrases(
            ids=encoded.ids,
            offsets=encoded.offsets,
            counts=encoded.counts,
            train_words=encoded.stats.raw_tokens,
            min_count=2,
            threshold=0.25,
            workers=workers,
            memory_budget=budget,
            chunk_tokens=chunk_tokens,
        )
        words = [(encoded.words[a], encoded.words[b]) for a, b in zip(first, second, strict=True)]
        assert words == list(wanted)
        assert list(zip(counts.tolist(), scores.tolist(), strict=True)) == list(wanted.values())


def test_single_token_pieces() -> None:
    encoded = read_corpus(sentences_of(TOPICS)[:300], min_count=2, break_at_dropped=True)
    options = {"train_words": encoded.stats.raw_tokens, "min_count": 1, "threshold": 10.0, "memory_budget": 1 << 30}
    columns = {"ids": encoded.ids, "offsets": encoded.offsets, "counts": encoded.counts}
    once = _core.count_phrases(**columns, **options, workers=1)
    small = _core.count_phrases(**columns, **options, workers=3, chunk_tokens=1)
    assert all(np.array_equal(a, b) for a, b in zip(once, small, strict=True))


def test_pairs_stay_within_lines_and_beside_rare_words_there_are_none(tmp_path: Path) -> None:
    text = b"a b\n" * 20 + b"b\na\n" * 20 + b"c rare%d d\n" * 20
    for number in range(20):
        text = text.replace(b"%d", b"%d" % number, 1)
    (tmp_path / "t").write_bytes(text)
    for workers in (1, 2):
        found = learn(tmp_path / "t", min_count=2, threshold=0, workers=workers)
        assert found.counts == {("a", "b"): 20}
    options = {"min_count": 2, "break_at_dropped": True, "chunk_bytes": 16, "chunks_per_round": 2}
    cut = read_corpus(tmp_path / "t", workers=3, **options)
    sentences = [cut.ids[a:b].tolist() for a, b in itertools.pairwise(cut.offsets)]
    assert sorted(len(sentence) for sentence in sentences) == [1] * 80 + [2] * 20


def test_words_given_up_while_reading_leave_no_neighbours(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("".join(f"left unique{number} right\n" for number in range(2000)))
    options = {"max_vocab_size": 50, "chunk_bytes": 256, "chunks_per_round": 4, "break_at_dropped": True}
    encoded = read_corpus(tmp_path / "t", min_count=2, **options)
    assert encoded.stats.prune_count > 0
    assert encoded.words == ["left", "right"]
    assert np.array_equal(np.diff(encoded.offsets), np.ones(4000))


def test_tokens_that_are_too_long_leave_no_neighbours(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(("left " + "x" * 70_000 + " right\n") * 20 + "left right\n" * 3)
    assert learn(tmp_path / "t", min_count=1, threshold=0, errors="ignore").counts == {("left", "right"): 3}


def test_a_score_at_the_threshold_is_no_phrase() -> None:
    # (20 - 5) * 100 / (30 * 20) is 2.5.
    sentences = [["new", "york"]] * 20 + [["new"]] * 10 + [["other"]] * 50
    assert learn(sentences, threshold=2.5).to_list() == []
    assert learn(sentences, threshold=np.nextafter(2.5, 0)).to_list() == [("new", "york", 20, 2.5)]
    assert learn(sentences, threshold=0, min_count=20).to_list() == []
    assert len(learn(sentences, threshold=0, min_count=19)) == 1


def test_every_kind_of_corpus(tmp_path: Path) -> None:
    wanted = learn(PLAIN, threshold=1.5)
    assert len(wanted) == 1
    text = "".join(" ".join(sentence) + "\n" for sentence in PLAIN)
    (tmp_path / "1.txt").write_text(text[: text.index("\n", 200) + 1])
    with gzip.open(tmp_path / "2.txt.gz", "wt") as file:
        file.write(text[text.index("\n", 200) + 1 :])
    both = [tmp_path / "1.txt", tmp_path / "2.txt.gz"]
    for corpus in (both, [str(path) for path in both], str(tmp_path), tmp_path / "*.txt*", iter(PLAIN)):
        assert learn(corpus, threshold=1.5) == wanted
    joined = [wanted.apply(sentence) for sentence in PLAIN]
    assert list(wanted.transform(both)) == list(wanted.transform(str(tmp_path))) == joined


def test_integers_are_decimal_words() -> None:
    ids, offsets = np.array([7, 300, 1] * 20, np.uint16), np.arange(0, 61, 3)
    found = learn((ids, offsets), threshold=1)
    assert set(found) == {("7", "300"), ("300", "1")}
    assert list(found.transform((ids, offsets)))[:2] == [["7_300", "1"]] * 2
    with pytest.raises(TypeError, match="offsets must be"):
        list(found.transform((ids, [0, 3])))


@pytest.mark.parametrize(
    ("ids", "offsets", "message"),
    [
        ([1, -2, 3], np.array([0, 3]), "ids must not be negative, got -2 at index 1"),
        ([1, 2], np.array([], int), "offsets must have at least 1 element, got none"),
        ([1, 2], np.array([1, 2]), "offsets must start at 0, got 1"),
        ([1, 2], np.array([0, 2, 1, 2]), "offsets must not descend: offsets[2] is 1 after 2"),
        ([1, 2], np.array([0, 2, 1, 2], np.uint64), "offsets must not descend: offsets[2] is 1 after 2"),
        ([1, 2], np.array([0, 1]), "offsets must end at the number of ids, 2, got 1"),
        (
            [1, 2],
            np.array([0, 2**64 - 1], np.uint64),
            "offsets must end at the number of ids, 2, got 18446744073709551615",
        ),
    ],
)
def test_wrong_integers_are_refused_as_by_training(ids: list[int], offsets: np.ndarray, message: str) -> None:
    for call in (learn, learn(PLAIN).transform):
        with pytest.raises(ValueError, match=re.escape(message)):
            call((np.array(ids), offsets))


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ([["1"], ["1", 2]], "token 1 of sentence 1 is a int; tokens must be str"),
        ([["1", None]], "token 1 of sentence 0 is a NoneType; tokens must be str"),
        ([[["a"]]], "token 0 of sentence 0 is a list; tokens must be str"),
        ([None], "sentence 0 is a NoneType; a sentence must be a list of str tokens"),
        ([["a"], {"b": 1}], "sentence 1 is a dict; a sentence must be a list of str tokens"),
        ([["a"], b"b c"], "sentence 1 is a bytes; a sentence must be a list of str tokens"),
        ([["a"], "b c"], "sentence 1 is a str; a sentence must be a list of str tokens: split it first, for example"),
    ],
)
def test_wrong_sentences_are_refused_as_by_training(corpus: Any, message: str) -> None:
    for call in (learn, lambda corpus: list(learn(PLAIN).transform(corpus))):
        with pytest.raises(TypeError, match=re.escape(message)):
            call(corpus)


def test_sentences_may_be_any_iterables_of_words() -> None:
    phrases = learn(PLAIN, threshold=1.5)
    sentences = [("new", "york"), iter(["new", "york"]), np.array(["new", "york"]), []]
    assert list(phrases.transform(sentences)) == [["new_york"]] * 3 + [[]]


def test_columns() -> None:
    pandas = pytest.importorskip("pandas", reason="a column of strings needs pandas")
    column = pandas.Series(["new york", None, "in new york\nis new"] * 20)
    found = learn(column, threshold=1.9)
    assert ("new", "york") in found
    assert list(found.transform(column))[:3] == [["new_york"], ["in", "new_york"], ["is", "new"]]
    lists = pandas.Series([["new", "york"]] * 20 + [["x"]] * 20)
    assert next(learn(lists, threshold=1).transform(lists)) == ["new_york"]


# Wrong use


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_count": -1}, ValueError, "min_count must be between 0"),
        ({"min_count": 2.0}, TypeError, "min_count must be an int, got float"),
        ({"threshold": -0.5}, ValueError, "threshold must be at least 0, got -0.5"),
        ({"threshold": float("nan")}, ValueError, "threshold must be finite"),
        ({"threshold": "high"}, TypeError, "threshold must be a real number, got str"),
        ({"delimiter": " "}, ValueError, "delimiter must not hold white space"),
        ({"delimiter": b"_"}, TypeError, "delimiter must be a str, got bytes"),
        ({"delimiter": "\ud800"}, ValueError, "delimiter must have a UTF-8 form"),
        ({"workers": 0}, ValueError, "workers must be between 1 and"),
        ({"max_vocab_size": 0}, ValueError, "max_vocab_size must be at least 1"),
        ({"memory_budget": -1}, ValueError, "memory_budget must be at least 0"),
        ({"errors": "stern"}, ValueError, "errors"),
    ],
)
def test_bad_arguments(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        learn(PLAIN, **options)
    with pytest.raises(TypeError, match="progress"):
        fastembed.learn_phrases(PLAIN, progress="yes")


def test_bad_corpora(tmp_path: Path) -> None:
    phrases = learn(PLAIN, threshold=1.5)
    (tmp_path / "t").write_bytes(b"new york")
    for call in (learn, phrases.transform):
        with pytest.raises(TypeError, match="corpus is a list of str"):
            call(["new york", "new york"])
        with pytest.raises(TypeError, match="corpus is a bytes; decode it"):
            call(b"new york")
        with pytest.raises(FileNotFoundError, match="there is no file"):
            call("nowhere.txt")
    with pytest.raises(TypeError, match="tokens is a str; a list of str was wanted: split it first"):
        phrases.apply("new york")
    with pytest.raises(TypeError, match="split it first"):
        list(phrases.transform(iter(["new york"])))
    with pytest.raises(ValueError, match="errors must be 'strict'"):
        phrases.transform(tmp_path / "t", errors="stern")
    with pytest.raises(ValueError, match="workers must be between 1"):
        phrases.transform_file(tmp_path / "t", tmp_path / "u", workers=0)
    with pytest.raises(TypeError, match="source must be a path or a list of paths, got list"):
        phrases.transform_file([["new", "york"]], tmp_path / "u")
    with pytest.raises(ValueError, match=r"cannot write .*u.zst': this compression is not written"):
        phrases.transform_file(tmp_path / "t", tmp_path / "u.zst")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        phrases.transform_file(tmp_path / "t", tmp_path / "no" / "u")


@pytest.mark.parametrize("size", [0, 1])
def test_corpora_without_phrases(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="the corpus is empty"):
        learn([[]] * size)
    for corpus in ([["one"]] * 20, [["a", "b"]], [["one"]] * 20 + [["two"]] * 20):
        found = learn(corpus, min_count=size, threshold=5)
        assert (len(found), list(found), found.scores, ("one", "one") in found) == (0, [], {}, False)
    assert join_file(found, tmp_path, b"one two\n") == b"one two\n"


def test_the_core_refuses_what_would_read_out_of_bounds() -> None:
    ids, counts = np.array([0, 1], np.int32), np.array([1, 1])
    options = {"train_words": 2, "min_count": 0, "threshold": 0.0, "workers": 1, "memory_budget": 0}
    for offsets in ([], [1, 2], [0, 3], [0, 2, 1], [0, 1]):
        with pytest.raises(ValueError, match="offsets must start at 0"):
            _core.count_phrases(ids=ids, offsets=np.array(offsets, np.int64), counts=counts, **options)
    strange = np.array([-1, 5, 0, 1], np.int32)
    found = _core.count_phrases(ids=strange, offsets=np.array([0, 4]), counts=counts, **options)
    assert (found[0].tolist(), found[1].tolist()) == ([0], [1])
    for first, second in (([2], [0]), ([0], [-1]), ([0, 1], [0])):
        with pytest.raises(ValueError, match=r"no such word|equally long"):
            _core.PhraseBook(
                words=["a", "b"], first=np.array(first, np.int32), second=np.array(second, np.int32), delimiter="_"
            )


# The command line


def test_command(tmp_path: Path, topics_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = learn(topics_file, min_count=3, threshold=20, delimiter="+")
    arguments = (
        f"phrases {topics_file} -o {tmp_path}/out --min-count 3 --threshold 20 --delimiter + --workers 2 "
        f"--errors strict --memory-budget 100000 --max-vocab-size 100000 --save-phrases {tmp_path}/p --no-progress"
    )
    assert cli.main(arguments.split()) == 0
    assert capsys.readouterr().out == f"{len(wanted):,} phrases are joined in {tmp_path}/out\n"
    assert (tmp_path / "out").read_bytes() == reference.join_text(TOPICS, set(wanted), "+")
    assert Phrases.load(tmp_path / "p") == wanted


def test_word2phrase_command_line(tmp_path: Path, topics_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = f"phrases -train {topics_file} -output {tmp_path}/out -threshold 20 -min-count 3 -debug 0"
    assert cli.main(flags.split()) == 0
    assert capsys.readouterr().err == ""
    wanted = learn(topics_file, min_count=3, threshold=20)
    assert (tmp_path / "out").read_bytes() == reference.join_text(TOPICS, set(wanted), "_")
    assert cli.main(f"phrases {topics_file} {topics_file} -o {tmp_path}/out --no-progress".split()) == 0
    assert (tmp_path / "out").stat().st_size > 1.9 * len(TOPICS)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("phrases", 2, "the following arguments are required"),
        ("phrases t", 2, "-o/--output"),
        ("phrases -train", 2, "argument -train: a value was wanted after it"),
        ("phrases t -o out --threshold high", 2, "argument --threshold: invalid float value"),
        ("phrases t -o no/out", 1, "the directory .* does not exist"),
        ("phrases t -o out --save-phrases no/out", 1, "the directory .* does not exist"),
        ("phrases t -o ''", 1, "cannot write '': a path was wanted"),
        ("phrases t -o out --save-phrases ''", 1, "cannot write '': a path was wanted"),
        ("phrases t -o x.zst", 1, "'x.zst': this compression is not written"),
        ("phrases t -o /dev/null", 1, "'/dev/null': it is not a regular file"),
        ("phrases t -o out --threshold -1", 1, "threshold must be at least 0"),
        ("phrases nowhere -o out", 1, "there is no file 'nowhere'"),
        ("phrases /dev/null -o out", 1, "'/dev/null' is not a regular file: the text is read twice"),
        ("phrases t -o out", 1, "the corpus is empty"),
    ],
)
def test_command_errors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").write_text("")
    (tmp_path / "out").write_text("old")
    assert cli.main([*shlex.split(arguments), *(["--no-progress"] if code == 1 else [])]) == code
    assert re.search(message, capsys.readouterr().err)
    assert (tmp_path / "out").read_text() == "old"


def test_the_command_passes_on_the_options_of_learn_phrases() -> None:
    import inspect

    options = {action.dest for action in cli._phrases_parser()._actions}
    parameters = set(inspect.signature(fastembed.learn_phrases).parameters)
    assert options - {"help", "output", "save_phrases"} == parameters


# The real thing


@pytest.mark.slow
def test_real_phrases(tmp_path: Path) -> None:
    path = shared_path("data", "enwiki-featured.txt.xz")
    if path is None:
        pytest.skip("the shared corpus is not on this machine")
    import lzma

    with lzma.open(path, "rt", encoding="utf-8") as file:
        sentences = [line.split() for line in itertools.islice(file, 10_000)]
    found = learn(sentences, threshold=50)
    check(found, reference.find(sentences, 5, 50.0))
    for pair in (("new", "york"), ("united", "states"), ("los", "angeles"), ("prime", "minister")):
        assert pair in found
    generator = random.Random(1)
    for sentence in generator.sample(sentences, 500):
        assert found.apply(sentence) == reference.join(sentence, set(found), "_")
