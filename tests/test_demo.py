"""The demo's corpus, and the demo with a stand-in for training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import cli, demo
from fastembed.vectors import WordVectors


def fake_training(calls: list[dict[str, object]]):
    def train_word2vec(sentences: list[list[str]], **options: object) -> WordVectors:
        calls.append(options)
        words = sorted({word for sentence in sentences for word in sentence})
        table = np.random.default_rng(0).standard_normal((len(words), 100)).astype(np.float32)
        return WordVectors(table, words)

    return train_word2vec


def test_the_whole_corpus() -> None:
    sentences = list(demo.demo_sentences())
    n_words = sum(map(len, sentences))
    assert n_words > 100_000  # less would mean that this Python lacks its sources or that they are not found
    vocabulary = {word for sentence in sentences for word in sentence}
    assert set(demo.DEMO_WORDS) <= vocabulary
    assert all(word == word.lower() and " " not in word for word in vocabulary)
    assert min(map(len, sentences)) >= 3


def test_a_small_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_topic_texts", lambda: iter(["The First topic. A second, don't-stop sentence_here!"]))
    (tmp_path / "b.py").write_text(
        '"""Module b says this.\n\nNew paragraph follows here."""\ndef f():\n    "Doc of f here"\n'
    )
    (tmp_path / "a.py").write_text('class A:\n    """Class a comes first."""\n    x = "\\d no docstring at all"\n')
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b"# coding: latin-1\n'''caf\xe9 with coffee beans'''\n")
    (tmp_path / "nul.py").write_bytes(b"'''one two three'''\0")
    (tmp_path / "data.txt").write_text("not a source at all")
    for directory, text in (
        ("test", "left out like this"),
        ("site-packages", "left out like that"),
        ("sub", "from sub package here"),
    ):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "m.py").write_text(f'"""{text}"""')
    (tmp_path / "missing.py").symlink_to(tmp_path / "nowhere")
    assert list(demo.demo_sentences(tmp_path)) == [
        ["the", "first", "topic"],
        ["a", "second", "don't-stop", "sentence_here"],
        ["class", "a", "comes", "first"],
        ["module", "b", "says", "this"],
        ["new", "paragraph", "follows", "here"],
        ["doc", "of", "f", "here"],
        ["caf", "with", "coffee", "beans"],
        ["from", "sub", "package", "here"],
    ]


def test_without_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_topic_texts", lambda: iter([]))
    assert list(demo.demo_sentences(tmp_path / "nowhere")) == []
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeError, match=r"neither pydoc_data.topics nor"):
        demo.run_demo(tmp_path / "out")


def test_run_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(fastembed, "train_word2vec", fake_training(calls), raising=False)
    monkeypatch.setattr(
        demo, "demo_sentences", lambda: iter([["list", "file", "time"], ["thread", "month", "string"]] * 9)
    )
    demo.run_demo(tmp_path / "out", epochs=3, workers=2, progress=False)
    expected = dict(vector_size=100, epochs=3, min_count=12, workers=2, memory_budget=None, progress=False)
    assert calls == [expected]
    output = capsys.readouterr().out
    assert "Training on 54 words in 18 sentences, 3 epochs." in output
    assert "\n        list: " in output and str(tmp_path / "out") in output and "server" not in output
    assert len(WordVectors.load(tmp_path / "out")) == 6


def test_every_option_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(fastembed, "train_word2vec", fake_training(calls), raising=False)
    monkeypatch.setattr(demo, "demo_sentences", lambda: iter([["list", "file", "time"]]))
    given = f"demo --output {tmp_path}/out --epochs 3 --workers 1 --memory-budget 100000000 --no-progress".split()
    assert cli.main(["demo", "--help"]) == 0
    assert set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"} == set(given[1::2])
    assert cli.main(given) == 0
    expected = dict(vector_size=100, epochs=3, min_count=12, workers=1, memory_budget=100000000, progress=False)
    assert calls == [expected] and (tmp_path / "out").exists()


def test_output_is_checked_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(fastembed, "train_word2vec", fake_training(calls), raising=False)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError):
        demo.run_demo(tmp_path)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        demo.run_demo(tmp_path / "out", epochs=0)
    assert calls == []


def test_the_real_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = demo.run_demo(tmp_path / "out", progress=False)
    # Not a measure of quality: words that mean much the same must have come out close.
    assert {"days", "day", "year", "week", "weekday"} & {word for word, _ in vectors.most_similar("month")}
    assert {"threads", "threading"} & {word for word, _ in vectors.most_similar("thread")}
