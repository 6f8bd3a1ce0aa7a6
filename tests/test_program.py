"""The program as a shell starts it: closed streams, other encodings, interrupts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import _cli_saving, cli

COMMANDS = {
    "train": ["train", "text", "-o", "out", "--min-count", "1", "--vector-size", "8", "--workers", "1"],
    "phrases": ["phrases", "text", "-o", "out"],
    "info": ["info"],
    "version": ["--version"],
}


def run(directory: Path, redirections: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    root = str(Path(fastembed.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from fastembed.cli import main; sys.exit(main(sys.argv[1:]))"
    command = ["sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", COMMANDS)
def test_closed_streams_are_no_error(tmp_path: Path, name: str, redirections: str) -> None:
    (tmp_path / "text").write_text("new york is big\n" * 20)
    done = run(tmp_path, redirections, COMMANDS[name])
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (tmp_path / "out").exists() == (name in ("train", "phrases"))
    assert bool(done.stdout) == (redirections == "2>&-")


def test_words_that_the_encoding_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("中文 big café\n" * 20, encoding="utf-8")
    assert run(tmp_path, "", COMMANDS["train"]).returncode == 0
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(tmp_path, "", ["neighbors", "out", "big"])
    assert done.returncode == 0, done.stderr
    assert "\\u4e2d\\u6587" in done.stdout


def fail_first(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[tuple[str, str]]:
    """Let saving fail once; the list gets the place and the format of every attempt."""
    saved: list[tuple[str, str]] = []

    def save(vectors: fastembed.WordVectors, output: str, chosen_format: str) -> None:
        saved.append((output, chosen_format))
        if len(saved) == 1:
            raise error
        really_save(vectors, output, chosen_format)

    really_save = _cli_saving.save_vectors
    monkeypatch.setattr(cli, "save_vectors", save)
    monkeypatch.setattr(_cli_saving, "save_vectors", save)
    return saved


@pytest.mark.parametrize("chosen_format", ["native", "word2vec-binary"])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted while saving; the vectors are in out.interrupted"),
        (OSError(28, "No space left on device", "out"), 1, "No space left on device: 'out'"),
    ],
)
def test_what_goes_wrong_while_saving_loses_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
    chosen_format: str,
) -> None:
    (tmp_path / "text").write_text("new york is big\n" * 20)
    saved = fail_first(monkeypatch, error)
    monkeypatch.chdir(tmp_path)
    assert cli.main([*COMMANDS["train"], "--no-progress", "--format", chosen_format]) == code
    said = capsys.readouterr()
    assert message in said.err and "the vectors are in out.interrupted" in said.err and not said.out
    assert saved == [("out", chosen_format), ("out.interrupted", chosen_format)]
    assert sorted(cli.load_vectors("out.interrupted").index_to_key) == ["big", "is", "new", "york"]


@pytest.mark.parametrize("taken", [False, True])
def test_words_that_the_format_cannot_hold_are_saved_in_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taken: bool
) -> None:
    (tmp_path / "text").write_text("new york is big\n" * 20)
    known = fastembed.WordVectors(np.ones((1, 8), np.float32), ["San Francisco"])
    known.save(tmp_path / "known")
    if taken:
        (tmp_path / "out.interrupted").write_text("something else")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = [*COMMANDS["train"], "--no-progress", "--init", "known", "--format", "word2vec-text"]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert "'San Francisco'" in said
    place = said.rpartition("the vectors are in ")[2].strip()
    assert (place == "out.interrupted") == (not taken)
    assert "San Francisco" in cli.load_vectors(place)
    assert not taken or (tmp_path / "out.interrupted").read_text() == "something else"


def test_an_interrupt_while_the_vocabulary_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "text").write_text("new york is big\n" * 20)
    monkeypatch.setattr("fastembed._word2vec_format.save_vocabulary", interrupted)
    monkeypatch.chdir(tmp_path)
    assert cli.main([*COMMANDS["train"], "--no-progress", "--save-vocabulary", "words"]) == 130
    said = capsys.readouterr()
    assert "the vocabulary was not saved" in said.err and "4 vectors of 8 numbers are in out" in said.out
    assert len(cli.load_vectors("out")) == 4


def test_a_link_to_a_compression_that_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("vectors.zst")
    given = ["train", "no/corpus", "-o", str(tmp_path / "link"), "--format", "word2vec-text"]
    assert cli.main(given) == 1
    assert "link': this compression is not written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--vector-size 0", "fastembed: error: --vector-size must be"),
        ("--vector-size=8 --min-alpha=-1", "fastembed: error: --min-alpha must be"),
        ("--init nothing", "fastembed: error: there are no vectors at 'nothing'"),
    ],
)
def test_errors_name_the_option_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    (tmp_path / "text").write_text("new york is big\n" * 20)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "text", "-o", "out", *options.split()]) == 1
    assert capsys.readouterr().err.startswith(message)


def test_without_stderr_there_is_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = open("/dev/null", "w")  # noqa: SIM115
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        sentences = [["new", "york"]] * 20
        assert len(fastembed.train_word2vec(sentences, vector_size=8, epochs=1, workers=1)) == 2
        assert len(fastembed.learn_phrases(sentences, threshold=0)) == 1
