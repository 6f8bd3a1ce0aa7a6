"""Joining and keeping phrases: tokens, texts in any blocks, files; errors, kills and Ctrl-C on the way."""

from __future__ import annotations

import gzip
import itertools
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastembed
from fastembed import Phrases, _core
from phrase_cases import PLAIN, TOPICS, join_blocks, join_file, learn
from reference import phrases as reference
from reference.corpus import sentences_of


@pytest.fixture(scope="module")
def topics_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topics") / "topics.txt"
    path.write_bytes(TOPICS)
    return path


# Joining


def test_greedy_from_left_to_right() -> None:
    phrases = learn([["a", "a"], ["a", "b"], ["b", "c"]] * 10, min_count=1, threshold=0)
    assert phrases.apply(["a", "a", "a", "b", "c", "c"]) == ["a_a", "a_b", "c", "c"]
    assert phrases.apply([]) == phrases.apply(()) == phrases[[]] == []
    assert phrases["x", "b", "c"] == ["x", "b_c"]
    assert list(phrases[[["a", "b"], [], ["c"]]]) == [["a_b"], [], ["c"]]
    assert list(phrases[iter([["a", "b"]])]) == [["a_b"]]


def test_a_second_pass_finds_longer_phrases() -> None:
    sentences = [["the", "new", "york", "times", "said"], ["it", "said", "the", "rest"]] * 30
    once = learn(sentences, threshold=5)
    twice = learn(once.transform(sentences), threshold=5)
    assert once.apply(sentences[0]) == ["the", "new_york", "times", "said"]
    assert twice.apply(once.apply(sentences[0])) == ["the", "new_york_times", "said"]


def test_training_on_joined_text(topics_file: Path) -> None:
    phrases = learn(topics_file, threshold=50)
    vectors = fastembed.train_word2vec(phrases.transform(topics_file), vector_size=8, epochs=1, progress=False)
    assert any("_".join(pair) in vectors for pair in phrases)


TEXTS = st.lists(
    st.sampled_from(
        [b"a", b"b", b"c", b"ab", b"\xc3\xa9", b"x" * 17, b"\xff", b" ", b" ", b"\t", b"\n", b"\r\n", b"\0"]
    ),
    max_size=300,
).map(b"".join)


@given(
    text=TEXTS,
    pairs=st.sets(st.tuples(*[st.sampled_from(["a", "b", "c", "ab", "é", "x" * 17])] * 2), max_size=12),
    delimiter=st.sampled_from(["_", "", "·", "-and-"]),
    block_bytes=st.integers(1, 80),
    chunk_bytes=st.integers(1, 150),
    workers=st.integers(1, 3),
)
def test_any_text_in_any_blocks_equals_the_reference(
    text: bytes, pairs: set[tuple[str, str]], delimiter: str, block_bytes: int, chunk_bytes: int, workers: int
) -> None:
    found = dict.fromkeys(sorted(pairs), (1, 1.0))
    phrases = Phrases(found, min_count=0, threshold=0.0, delimiter=delimiter, train_words=1)
    wanted = reference.join_text(text, pairs, delimiter)
    assert join_blocks(phrases, text, block_bytes, chunk_bytes, workers) == wanted
    assert join_blocks(phrases, text, len(text) + 1, chunk_bytes, workers) == wanted


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_joined_file_equals_the_reference(tmp_path: Path, topics_file: Path, workers: int) -> None:
    phrases = learn(topics_file, threshold=10)
    wanted = reference.join_text(TOPICS, set(phrases), "_")
    assert wanted != TOPICS
    assert join_file(phrases, tmp_path, TOPICS, workers=workers) == wanted
    assert join_blocks(phrases, TOPICS, 1 << 20, 1000, workers) == wanted
    lists = [phrases.apply(sentence) for sentence in sentences_of(TOPICS)]
    assert sentences_of(wanted) == lists
    assert list(phrases.transform(topics_file, workers=workers)) == lists[: -1 if not lists[-1] else None]


@pytest.mark.parametrize("isa", _core.available_isas())
def test_every_instruction_set(isa: str, run_python, tmp_path: Path, topics_file: Path) -> None:
    phrases = learn(topics_file, threshold=10)
    phrases.save(tmp_path / "p")
    code = (
        f"import fastembed; p = fastembed.Phrases.load({str(tmp_path / 'p')!r})\n"
        f"assert p == fastembed.learn_phrases({str(topics_file)!r}, threshold=10, progress=False)\n"
        f"p.transform_file({str(topics_file)!r}, {str(tmp_path / 'out')!r}, progress=False)"
    )
    done = run_python(code, FASTEMBED_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == reference.join_text(TOPICS, set(phrases), "_")


@pytest.mark.parametrize("unit", [b"a ", b"a b ", b"b a\t"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 1001, 200_000])
def test_one_long_line_where_all_pairs_are_phrases(unit: bytes, length: int) -> None:
    found = dict.fromkeys(itertools.product("ab", repeat=2), (1, 1.0))
    phrases = Phrases(found, min_count=0, threshold=0.0, delimiter="_", train_words=1)
    text = unit * length
    wanted = reference.join_text(text, set(phrases), "_")
    for block_bytes, chunk_bytes in ((1 << 22, 1 << 10), (50_001, 7_000)):
        assert join_blocks(phrases, text, block_bytes, chunk_bytes, 2) == wanted


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"new", b"new york", b"\xef\xbb\xbfnew york\r\nnew \t york \n\n york\nnew\nyork new york"]
)
def test_only_the_space_between_joined_words_changes(tmp_path: Path, text: bytes) -> None:
    phrases = learn(PLAIN, threshold=1.5, delimiter="")
    wanted = reference.join_text(text, {("new", "york")}, "")
    assert join_file(phrases, tmp_path, text) == wanted
    assert join_file(learn([["a"]]), tmp_path, text) == text


def test_several_files_and_compression(tmp_path: Path) -> None:
    phrases = learn(PLAIN, threshold=1.5)
    (tmp_path / "1").write_bytes(b"\xef\xbb\xbfnew york new")
    (tmp_path / "2").write_bytes(b"")
    (tmp_path / "3.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfyork new york\n"))
    (tmp_path / "4").write_bytes(b"york new")
    phrases.transform_file([tmp_path / name for name in ("1", "2", "3.gz", "4")], tmp_path / "all.gz", progress=False)
    joined = gzip.decompress((tmp_path / "all.gz").read_bytes())
    assert joined == b"\xef\xbb\xbfnew_york new\nyork new_york\nyork new"
    phrases.transform_file(tmp_path / "all.gz", tmp_path / "all.gz", progress=False)
    assert gzip.decompress((tmp_path / "all.gz").read_bytes()) == joined


def test_progress_is_shown_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t").write_text("new york\n" * 1000)
    phrases = fastembed.learn_phrases([tmp_path / "t"] * 2, threshold=0)
    assert "corpus: 100%" in capsys.readouterr().err
    phrases.transform_file([tmp_path / "t"] * 2, tmp_path / "out")
    captured = capsys.readouterr()
    assert "phrases: 100%" in captured.err and captured.out == ""


def test_lines_of_files_follow_the_reader(tmp_path: Path) -> None:
    phrases = learn(PLAIN, threshold=1.5)
    text = "\ufeffnew york\u00a0x\x1cy\u2028z new  york\r\n\r\nnew\nyork é".encode()
    (tmp_path / "t").write_bytes(text)
    lines = list(phrases.transform(tmp_path / "t"))
    assert lines == [phrases.apply(sentence) for sentence in sentences_of(text)]
    (tmp_path / "t").write_bytes(b"new york\nnew \xff york \xffa\n")
    with pytest.raises(UnicodeDecodeError, match=r"a line of '.*t' is not UTF-8; errors='replace'"):
        list(phrases.transform(tmp_path / "t"))
    assert list(phrases.transform(tmp_path / "t", errors="ignore"))[1] == ["new", "york", "a"]
    assert list(phrases.transform(tmp_path / "t", errors="replace"))[1][1] == "\ufffd"


# Keeping


def test_save_and_load(tmp_path: Path, topics_file: Path) -> None:
    words = [["a\tb", 'quo"te'], ["é\n", "\\"], ["", "x"]] * 10
    for phrases in (learn(topics_file, threshold=1), learn(words, threshold=0, delimiter="·"), learn([["a"]])):
        phrases.save(tmp_path / "p.json")
        loaded = Phrases.load(tmp_path / "p.json")
        assert loaded == phrases
        assert loaded.to_list() == phrases.to_list() and loaded.delimiter == phrases.delimiter
        again = pickle.loads(pickle.dumps(phrases))
        assert again == phrases and again.apply(["é\n", "\\"]) == phrases.apply(["é\n", "\\"])
    assert (phrases == 1) is False
    assert repr(phrases) == "<0 phrases, min_count=5, threshold=100>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"fastembed phrases"', '"something"'),
        ('"version": 1', '"version": 2'),
        ("]}", ""),
        ('"york", 20', '"york"'),
        ('"york", 20', "3, 20"),
        ('"york", 20', '"york", "20"'),
        ('"delimiter": "_"', '"delimiter": " "'),
        ('"min_count"', '"least"'),
        ("{", "[{"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str) -> None:
    learn(PLAIN, threshold=1.5).save(tmp_path / "p.json")
    text = (tmp_path / "p.json").read_text()
    assert old in text
    (tmp_path / "p.json").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"'.*p\.json' is not a file of phrases, or damaged"):
        Phrases.load(tmp_path / "p.json")


def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = learn(PLAIN, threshold=1.5)
    (tmp_path / "target").write_text("old")
    (tmp_path / "bad.gz").write_bytes(gzip.compress(b"new york\n" * 1000)[:-20])
    with pytest.raises(OSError, match="truncated or damaged"):
        phrases.transform_file(tmp_path / "bad.gz", tmp_path / "target", progress=False)
    monkeypatch.setattr(Phrases, "to_list", lambda self: [("a", object())])
    with pytest.raises(TypeError):
        phrases.save(tmp_path / "target")
    assert (tmp_path / "target").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["bad.gz", "target"]


def test_killed_while_writing_leaves_the_old_file(tmp_path: Path, topics_file: Path) -> None:
    (tmp_path / "target").write_text("old")
    learn(PLAIN, threshold=1.5).save(tmp_path / "p")
    code = (
        f"from fastembed import Phrases; p = Phrases.load({str(tmp_path / 'p')!r}); print('go', flush=True)\n"
        f"p.transform_file([{str(topics_file)!r}] * 5000, {str(tmp_path / 'target')!r}, progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert (tmp_path / "target").read_text() == "old"


INTERRUPT = """
import os, signal, threading, time
import numpy as np, fastembed
from fastembed import _core
{setup}
pressed = []
def press():
    pressed.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.3, press).start()
try:
    while True:
        {code}
except KeyboardInterrupt:
    print(time.perf_counter() - pressed[0])
"""


@pytest.mark.timed
@pytest.mark.parametrize(
    ("name", "setup", "code"),
    [
        (
            "count",
            "ids = np.random.default_rng(1).integers(0, 20_000, 20_000_000).astype(np.int32)\n"
            "counts, offsets = np.bincount(ids), np.array([0, ids.size])",
            "_core.count_phrases(ids=ids, offsets=offsets, counts=np.sort(counts)[::-1].copy(), train_words=ids.size, "
            "min_count=1, threshold=0.0, workers=2, memory_budget=1 << 31)",
        ),
        (
            "join",
            "p = fastembed.learn_phrases([['a', 'b']] * 20, threshold=0, progress=False)",
            "p.transform_file([{path!r}] * 2000, {target!r}, progress=False)",
        ),
        (
            "lines",
            "p = fastembed.learn_phrases([['a', 'b']] * 20, threshold=0, progress=False)",
            "fastembed.learn_phrases(p.transform([{path!r}] * 2000), progress=False)",
        ),
    ],
)
def test_ctrl_c_is_answered_in_time(tmp_path: Path, topics_file: Path, name: str, setup: str, code: str) -> None:
    code = code.replace("{path!r}", repr(str(topics_file))).replace("{target!r}", repr(str(tmp_path / "out")))
    script = INTERRUPT.replace("{setup}", setup).replace("{code}", code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    assert float(done.stdout) < (0.2 if not _core.sanitizers else 2.0)
    assert os.listdir(tmp_path) == []


@pytest.mark.threads
def test_workers_share_the_work(topics_file: Path, tmp_path: Path) -> None:
    wanted = learn(topics_file, threshold=5, workers=1)
    text = join_file(wanted, tmp_path, TOPICS, workers=1)
    for workers in (2, 3, 7):
        assert learn(topics_file, threshold=5, workers=workers) == wanted
        assert join_blocks(wanted, TOPICS, 100_000, 1000, workers) == text
