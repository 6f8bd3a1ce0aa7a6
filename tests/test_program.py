"""The program as a shell starts it: with closed streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastembed

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


def test_without_stderr_there_is_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = open("/dev/null", "w")  # noqa: SIM115
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        sentences = [["new", "york"]] * 20
        assert len(fastembed.train_word2vec(sentences, vector_size=8, epochs=1, workers=1)) == 2
        assert len(fastembed.learn_phrases(sentences, threshold=0)) == 1
