"""The program as a shell starts it: closed streams, other encodings, interrupts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastembed
from fastembed import cli

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


@pytest.mark.parametrize("chosen_format", ["native", "word2vec-binary"])
def test_an_interrupt_while_saving_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chosen_format: str
) -> None:
    (tmp_path / "text").write_text("new york is big\n" * 20)
    saved = []

    def save(vectors: fastembed.WordVectors, output: str, chosen_format: str) -> None:
        saved.append(output)
        if len(saved) == 1:
            raise KeyboardInterrupt
        really_save(vectors, output, chosen_format)

    really_save = cli._save
    monkeypatch.setattr(cli, "_save", save)
    monkeypatch.chdir(tmp_path)
    assert cli.main([*COMMANDS["train"], "--no-progress", "--format", chosen_format]) == 130
    assert "interrupted while saving; the vectors are in out.interrupted" in capsys.readouterr().err
    assert saved == ["out", "out.interrupted"]
    assert sorted(cli.load_vectors("out.interrupted").index_to_key) == ["big", "is", "new", "york"]


def test_without_stderr_there_is_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = open("/dev/null", "w")  # noqa: SIM115
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        sentences = [["new", "york"]] * 20
        assert len(fastembed.train_word2vec(sentences, vector_size=8, epochs=1, workers=1)) == 2
        assert len(fastembed.learn_phrases(sentences, threshold=0)) == 1
