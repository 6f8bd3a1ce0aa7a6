"""The command line, with a stand-in for training; the flags of word2vec.c."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import cli
from fastembed._word2vec_flags import FlagError, translate
from fastembed.vectors import WordVectors

TABLE = np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [0.1, 0.1, -1]])
WORDS = ["man", "woman", "king", "queen", "stone"]


def make() -> WordVectors:
    return WordVectors(
        TABLE, WORDS, counts=[5, 4, 3, 2, 1], history=[{"epoch": 1, "loss": 1.25, "alpha": 0.025}], config={"window": 5}
    )


class FakeTraining:
    def __init__(self) -> None:
        self.calls: list[tuple[object, dict[str, object]]] = []
        self.error: BaseException | None = None

    def __call__(self, corpus: object, **options: object) -> WordVectors:
        self.calls.append((corpus, options))
        if self.error is not None:
            raise self.error
        return make()


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(fastembed, "train_word2vec", fake, raising=False)
    return fake


@pytest.fixture
def store(tmp_path: Path) -> str:
    make().save(tmp_path / "store")
    return str(tmp_path / "store")


def one_line(text: str) -> str:
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text[:-1]


# train


def test_train_passes_on_only_what_is_given(tmp_path: Path, training: FakeTraining) -> None:
    assert cli.main(["train", "corpus.txt", "-o", str(tmp_path / "out")]) == 0
    assert training.calls == [("corpus.txt", {})]
    assert WordVectors.load(tmp_path / "out").history == make().history


def test_train_every_option(tmp_path: Path, training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "train a.txt --vector-size 50 --window 3 --negative 7 --epochs 2 --min-count 1 --sample 1e-4 --alpha 0.05 "
        "--min-alpha 0.001 --cbow --cbow-mean 0 --ns-exponent -0.5 --no-shrink-windows --max-final-vocab 1000 "
        "--max-vocab-size 5000 --seed 3 --workers 2 --negative-sharing pair --max-sentence-length 100 --errors ignore "
        f"--no-progress --format word2vec-text --output {tmp_path}/out --save-vocabulary {tmp_path}/vocabulary b.txt"
    )
    assert cli.main(arguments.split()) == 0
    assert training.calls == [
        (
            ["a.txt", "b.txt"],
            dict(
                vector_size=50, window=3, negative=7, epochs=2, min_count=1, sample=1e-4, alpha=0.05, min_alpha=0.001,
                sg=False, cbow_mean=False, ns_exponent=-0.5, shrink_windows=False, max_final_vocab=1000,
                max_vocab_size=5000, seed=3, workers=2, negative_sharing="pair", max_sentence_length=100,
                errors="ignore", progress=False,
            ),
        )
    ]  # fmt: skip
    assert (tmp_path / "out").read_bytes().startswith(b"5 3\nman 1 0 0\n")
    assert (tmp_path / "vocabulary").read_text().startswith("man 5\n")
    assert capsys.readouterr().out == f"5 vectors of 3 numbers are in {tmp_path}/out\n"


def test_train_accepts_the_options_of_train_word2vec() -> None:
    import inspect

    group_options = {action.dest for action in cli._train_parser()._actions}
    parameters = set(inspect.signature(fastembed.train_word2vec).parameters)
    assert group_options - {"help", "corpus", "output", "format", "save_vocabulary"} <= parameters
    assert parameters - group_options == {"callbacks"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train", "the following arguments are required"),
        ("train a.txt", "-o/--output"),
        ("train -o out", "CORPUS"),
        ("train a.txt -o out --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("train a.txt -o out --negative-sharing both", "argument --negative-sharing"),
        ("train a.txt -o out --epoch 5", "unrecognized arguments"),
        ("neighbors", "VECTORS"),
        ("neighbors x", "at least one WORD"),
        ("eval x", "at least one file is needed"),
        ("fly", "unknown command 'fly', wanted one of train, phrases, neighbors, eval, info, demo"),
        ("train -train a.txt -output o -hs 1", "hierarchical softmax is not supported"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    arguments: str, message: str, training: FakeTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert message in one_line(captured.err) and captured.out == "" and training.calls == []


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("no/where", "", "the directory .* does not exist"),
        ("no/where", "--format word2vec-binary", "the directory .* does not exist"),
        ("mine", "", "neither empty nor a fastembed store"),
        ("mine/file", "", "exists and is not a directory"),
        ("mine", "--format word2vec-text", "it is a directory"),
        ("out", "--save-vocabulary no/where", "the directory .* does not exist"),
        ("", "", "cannot write '': a path was wanted, got an empty one"),
        ("", "--format word2vec-text", "cannot write '': a path was wanted, got an empty one"),
        ("out", "--save-vocabulary ''", "cannot write '': a path was wanted, got an empty one"),
        ("x" * 256, "", "File name too long"),
        ("x" * 256, "--format word2vec-binary", "File name too long"),
        ("pipe", "--format word2vec-text", "'pipe': it is not a regular file"),
        ("v.zst", "--format word2vec-text", "'v.zst': this compression is not written"),
        ("out", "--save-vocabulary /dev/null", "'/dev/null': it is not a regular file"),
    ],
)
def test_output_is_checked_before_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: FakeTraining,
    capsys: pytest.CaptureFixture[str],
    output: str,
    options: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["train", "corpus.txt", "-o", output, *shlex.split(options)]) == 1
    assert re.search(message, one_line(capsys.readouterr().err))
    assert training.calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train t -o v --save-vocabulary t", "CORPUS and --save-vocabulary must name different places"),
        ("train t -o ./t --format word2vec-text", "CORPUS and --output must name different places"),
        ("train d -o v --save-vocabulary d/t", "CORPUS and --save-vocabulary must name different places"),
        ("train d/* -o link --format word2vec-text", "CORPUS and --output must name different places"),
        (
            "train v.interrupted -o v --format word2vec-text",
            "CORPUS and --output's .interrupted must name different places",
        ),
        (
            "train t -o v --format word2vec-text --save-vocabulary d/../v",
            "--output and --save-vocabulary must name different places",
        ),
        ("train t -o v --checkpoint v", "--checkpoint and --output must name different places"),
        ("train t -o v --init link --save-vocabulary d/t", "--init and --save-vocabulary must name different places"),
        ("train t -o v --checkpoint d/../v/c", "--checkpoint must not lie within --output"),
        ("train t -o v --save-vocabulary v/metadata.json", "--save-vocabulary must not lie within --output"),
        ("train t -o d/c/v --checkpoint d/c", "--output must not lie within --checkpoint"),
        (
            "train t -o v --save-vocabulary v.interrupted/words",
            "--save-vocabulary must not lie within --output's .interrupted",
        ),
        ("phrases t -o p --save-phrases t", "CORPUS and --save-phrases must name different places"),
        ("phrases t -o p --save-phrases p", "--output and --save-phrases must name different places"),
        ("phrases t -o t --save-phrases t", "--output and --save-phrases must name different places"),
    ],
)
def test_nothing_is_written_over_an_input_or_twice_to_one_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: FakeTraining,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("t", "d/t", "v.interrupted"):
        (tmp_path / name).write_text("text")
    (tmp_path / "link").symlink_to("d/t")
    assert cli.main(arguments.split()) == 2
    assert f"error: {message}, got '" in one_line(capsys.readouterr().err)
    assert training.calls == []


def test_vectors_may_replace_those_they_came_from(tmp_path: Path, training: FakeTraining, store: str) -> None:
    (tmp_path / "t").write_text("text")
    assert cli.main(["train", str(tmp_path / "t"), "--init", store, "-o", store]) == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("the corpus is\nempty"), 1, "fastembed: error: the corpus is empty"),
        (
            FileNotFoundError(2, "No such file or directory", "corpus.txt"),
            1,
            "error: No such file or directory: 'corpus.txt'",
        ),
        (KeyError("no such word"), 1, "fastembed: error: no such word"),
        (ImportError("zstandard is needed"), 1, "zstandard is needed"),
        (MemoryError(), 1, "MemoryError"),
        (KeyboardInterrupt(), 130, "interrupted, nothing was saved"),
    ],
)
def test_errors_of_training_are_one_line(
    tmp_path: Path,
    training: FakeTraining,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    training.error = error
    assert cli.main(["train", "corpus.txt", "-o", str(tmp_path / "out")]) == code
    assert message in one_line(capsys.readouterr().err.lstrip("\n"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("chosen_format", ["native", "word2vec-text"])
def test_interrupted_training_is_saved_beside_the_output(
    tmp_path: Path, training: FakeTraining, capsys: pytest.CaptureFixture[str], chosen_format: str
) -> None:
    training.error = fastembed.TrainingInterrupted(make(), 3)
    output = tmp_path / "out"
    assert cli.main(["train", "corpus.txt", "-o", str(output), "--format", chosen_format]) == 130
    assert f"after 3 whole epochs; the vectors so far are in {output}.interrupted" in capsys.readouterr().err
    assert not output.exists()
    assert cli.load_vectors(f"{output}.interrupted").index_to_key == WORDS


@pytest.mark.parametrize(
    ("name", "chosen_format"), [("out", "native"), ("out", "word2vec-text"), ("x" * 250, "native")]
)
def test_interrupted_training_is_saved_where_the_place_beside_the_output_is_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: FakeTraining,
    capsys: pytest.CaptureFixture[str],
    name: str,
    chosen_format: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    os.mkfifo(tmp_path / "out.interrupted")
    training.error = fastembed.TrainingInterrupted(make(), 3)
    assert cli.main(["train", "corpus.txt", "-o", str(tmp_path / name), "--format", chosen_format]) == 130
    place = capsys.readouterr().err.rpartition(" are in ")[2].strip()
    assert Path(place).parent.parent == tmp_path and cli.load_vectors(place).index_to_key == WORDS


# word2vec.c's flags


def test_word2vec_c_command_line(tmp_path: Path, training: FakeTraining, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        f"train -train text8 -output {tmp_path}/vec.bin -cbow 0 -size 200 -window 8 -negative 25 -hs 0 -sample 1e-4 "
        f"-threads 20 -binary 1 -iter 15 -min-count 2 -alpha 0.03 -classes 0 -debug 0 -save-vocab {tmp_path}/vocabulary"
    )
    assert cli.main(arguments.split()) == 0
    assert training.calls == [
        (
            "text8",
            dict(
                vector_size=200,
                window=8,
                negative=25,
                sample=1e-4,
                workers=20,
                epochs=15,
                min_count=2,
                alpha=0.03,
                progress=False,
            ),
        )
    ]
    assert capsys.readouterr().err == ""
    assert (tmp_path / "vec.bin").read_bytes().startswith(b"5 3\nman \x00\x00\x80?")
    assert (tmp_path / "vocabulary").exists()


def test_word2vec_c_defaults_are_said(
    tmp_path: Path, training: FakeTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "-train", "text8", "-output", str(tmp_path / "v")]) == 0
    assert "TRAINING SKIP-GRAM" in one_line(capsys.readouterr().err)
    assert training.calls == [("text8", {})] and (tmp_path / "v").read_bytes().startswith(b"5 3\nman 1")
    assert cli.main(["train", "-train", "text8", "-output", str(tmp_path / "v"), "-cbow", "1"]) == 0
    assert capsys.readouterr().err == ""
    assert training.calls[1:] == [("text8", dict(sg=False))], "whose default is word2vec.c's for CBOW"


def test_translate() -> None:
    assert translate(["a.txt", "-o", "out", "--window", "3"]) == (["a.txt", "-o", "out", "--window", "3"], [])
    assert translate(["--", "-train", "-size"]) == (["--", "-train", "-size"], [])
    assert translate(["a.txt", "-o", "x", "-size", "9", "--cbow"]) == (
        ["--vector-size", "9", "a.txt", "-o", "x", "--cbow"],
        [],
    )
    arguments, notes = translate(["-cbow", "1", "-alpha", "0.1", "-output", "o", "--format", "native"])
    assert arguments == ["--output", "o", "--alpha", "0.1", "--cbow", "--format", "native"] and notes == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-hs 1", "argument -hs: hierarchical softmax is not supported"),
        ("-hs yes", "argument -hs: 0 or 1 was wanted, got 'yes'"),
        ("-classes 500", "argument -classes: clustering is not supported"),
        ("-read-vocab v", "argument -read-vocab: reading a vocabulary is not supported"),
        ("-cbow 2", "argument -cbow: 0 or 1 was wanted, got '2'"),
        ("-debug x", "argument -debug: a whole number was wanted, got 'x'"),
        ("-train", "argument -train: a value was wanted after it"),
    ],
)
def test_translate_refuses(arguments: str, message: str) -> None:
    with pytest.raises(FlagError, match=message):
        translate(arguments.split())


# neighbors, eval, info


@pytest.mark.parametrize("form", ["store", "text", "binary"])
def test_neighbors(tmp_path: Path, store: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = store
    if form != "store":
        path = str(tmp_path / "file")
        make().save_word2vec_format(path, binary=form == "binary")
    assert cli.main(["neighbors", path, "--topn", "2", "king", "queen"]) == 0
    assert (
        capsys.readouterr().out == "king:\n  man    0.7071\n  queen  0.5000\nqueen:\n  woman  0.7071\n  king   0.5000\n"
    )
    assert cli.main(["neighbors", path, "--positive", "woman", "king", "--negative", "man", "--topn", "1"]) == 0
    assert capsys.readouterr().out.startswith("+woman +king -man:\n  queen  ")
    assert cli.main(["neighbors", path, "woman", "king", "--negative", "man", "--topn", "1"]) == 0
    assert capsys.readouterr().out.startswith("+woman +king -man:\n  queen  ")


def test_neighbors_errors(tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["neighbors", store, "King"]) == 1
    expected = "fastembed: error: 'King' is not in the vocabulary of 5 words; 'king' is"
    assert one_line(capsys.readouterr().err) == expected
    assert cli.main(["neighbors", str(tmp_path / "nothing"), "king"]) == 1
    assert "no such file or directory" in one_line(capsys.readouterr().err)
    (tmp_path / "prose").write_text("This is no vector file.\n")
    assert cli.main(["neighbors", str(tmp_path / "prose"), "king"]) == 1
    assert "line 1: '<number of words> <vector size>' was wanted" in one_line(capsys.readouterr().err)
    (tmp_path / "empty").mkdir()
    assert cli.main(["neighbors", str(tmp_path / "empty"), "king"]) == 1
    assert "is not a fastembed store" in one_line(capsys.readouterr().err)


def test_eval(tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs").write_text("Man king 8\nwoman queen 9\nman stone 1\nman boy 7\n")
    (tmp_path / "analogies").write_text(": family\nman woman king queen\n")
    pairs, analogies = str(tmp_path / "pairs"), str(tmp_path / "analogies")
    assert cli.main(["eval", store, "--pairs", pairs, "--analogies", analogies]) == 0
    output = capsys.readouterr().out
    assert f"{pairs}: Spearman 0.8660, " in output and "3 of 4 pairs (75.0% coverage)" in output
    assert f"{analogies}: accuracy 100.0%: 1 right of 1 answered" in output
    assert cli.main(["eval", "--pairs", pairs, "--restrict-vocab", "3", "--case-sensitive", "--", store]) == 0
    assert "0 of 4 pairs" in capsys.readouterr().out
    assert cli.main(["eval", store, "--pairs", store]) == 1
    assert "Is a directory" in one_line(capsys.readouterr().err)


def test_info(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{store}: fastembed store",
        "words: 5",
        "vector size: 3",
        "output vectors: no",
        "counts: 15 occurrences",
        "first words: man woman king queen stone",
        "window: 5",
        "epoch 1, loss 1.25, alpha 0.025",
    ]
    make().save_word2vec_format(tmp_path / "file", binary=True)
    assert cli.main(["info", str(tmp_path / "file")]) == 0
    assert "word2vec file\nwords: 5\n" in capsys.readouterr().out
    monkeypatch.setattr(fastembed, "show_config", lambda: "the configuration", raising=False)
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out == "the configuration\n"


def test_demo_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr("fastembed.demo.run_demo", lambda **options: calls.append(options))
    assert cli.main(["demo"]) == 0
    assert cli.main(["demo", "--output", "d", "--epochs", "3", "--workers", "1", "--no-progress"]) == 0
    assert calls == [{}, dict(output="d", epochs=3, workers=1, progress=False)]


# The program


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: fastembed COMMAND" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0
    assert "usage: fastembed COMMAND" in capsys.readouterr().out
    for command in ("train", "phrases", "neighbors", "eval", "info", "demo"):
        assert cli.main([command, "--help"]) == 0
        assert f"usage: fastembed {command}" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(fastembed.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
        **options,
    )


def test_python_dash_m(store: str) -> None:
    result = run("-m", "fastembed", "neighbors", store, "king", "--topn", "1")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.splitlines() == [b"king:", b"  man  0.7071"]
    result = run("-m", "fastembed", "fly")
    assert result.returncode == 2 and b"Traceback" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_exits_130_without_traceback(tmp_path: Path) -> None:
    code = (
        "import sys, time, fastembed; from fastembed.cli import main\n"
        "def train_word2vec(corpus, **options): print('training', flush=True); time.sleep(60)\n"
        "fastembed.train_word2vec = train_word2vec\n"
        "sys.exit(main(['train', 'corpus.txt', '-o', sys.argv[1]]))"
    )
    root = str(Path(fastembed.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"training\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == b"\nfastembed: interrupted, nothing was saved\n"
    assert not (tmp_path / "out").exists()


def test_a_closed_pipe_is_no_traceback(store: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import os, sys; os.dup2(int(sys.argv[2]), 1); from fastembed.cli import main; sys.exit(main(sys.argv[3:]))"
    result = run("-c", code, "x", str(writing), "neighbors", store, "king", pass_fds=[writing])
    os.close(writing)
    assert result.returncode == 1 and result.stderr == b""


def test_import_is_light() -> None:
    code = "import sys, numpy; before = set(sys.modules); import fastembed.vectors; print(set(sys.modules) - before)"
    result = run("-c", code)
    assert result.stderr == b""
    loaded = ast.literal_eval(result.stdout.decode())
    assert not loaded & {
        "argparse",
        "json",
        "tqdm",
        "ast",
        "fastembed._storage",
        "fastembed._evaluation",
        "fastembed.cli",
    }
