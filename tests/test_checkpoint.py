"""What a checkpoint is: its layout, what it refuses, and how it is named in errors."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastembed
import fastembed._checkpoint as checkpoints
from fastembed import WordVectors, _core, cli
from fastembed._checkpoint import crc32_of

SENTENCES = [line.split() for line in ["the cat sat on the mat", "a dog ran to the cat", "one bird sang on a tree"]] * 9


def train(corpus: Any = SENTENCES, **options: Any) -> WordVectors:
    given = {"vector_size": 8, "epochs": 2, "workers": 1, "min_count": 1, "progress": False, **options}
    return fastembed.train_word2vec(corpus, **given)


def metadata(path: Path) -> dict[str, Any]:
    return json.loads((path / "metadata.json").read_text())


# After the end


def test_a_finished_checkpoint_is_the_result(tmp_path: Path) -> None:
    path = tmp_path / "run"
    result = train(checkpoint=path)
    for loaded in (WordVectors.load(path), WordVectors.load(path, mmap=False), train(checkpoint=path, resume=True)):
        assert loaded.vectors.tobytes() == result.vectors.tobytes()
        assert loaded.history == result.history  # the times too: nothing was trained again
        assert loaded.config == result.config
        assert loaded.index_to_key == result.index_to_key
    training = metadata(path)["training"]
    assert training["finished"] is True
    assert training["dtype"] == "float32"
    assert training["isa"] == fastembed.isa.active()
    assert sorted(os.listdir(path)) == sorted(
        [record["name"] for record in metadata(path)["files"].values()] + ["metadata.json"]
    )
    assert np.array_equal(np.load(path / metadata(path)["files"]["vectors"]["name"]), result.vectors)


def test_a_finished_run_writes_nothing_again(tmp_path: Path) -> None:
    train(checkpoint=tmp_path / "run")
    before = metadata(tmp_path / "run")
    train(checkpoint=tmp_path / "run", resume=True)
    assert metadata(tmp_path / "run") == before


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    expected = train()
    for path in (tmp_path / "absent", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir()
        assert train(checkpoint=path, resume=True).vectors.tobytes() == expected.vectors.tobytes()


def test_what_a_first_save_left_behind_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / ".fastembed-incomplete").write_bytes(b"")
    (path / "vectors.npy").write_bytes(b"cut short")
    train(checkpoint=path)
    assert metadata(path)["training"]["finished"]


def test_a_relative_path_means_where_training_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wanderer(fastembed.Callback):
        def on_train_begin(self, state: fastembed.TrainingState) -> None:
            (tmp_path / "elsewhere").mkdir()
            os.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    train(checkpoint="run/", callbacks=[Wanderer()])
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "run"]
    assert os.listdir(tmp_path / "elsewhere") == []


# What is refused


def test_an_existing_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run"
    result = train(checkpoint=path)
    before = metadata(path)
    with pytest.raises(ValueError, match=re.escape(f"checkpoint at {str(path)!r} already: pass resume=True")):
        train(checkpoint=path)
    with pytest.raises(FileExistsError, match="it holds the checkpoint of a training"):
        result.save(path)
    assert metadata(path) == before


def test_other_things_are_never_overwritten(tmp_path: Path) -> None:
    train().save(tmp_path / "vectors")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="it holds saved vectors"):
            train(checkpoint=tmp_path / "vectors", resume=resume)
        with pytest.raises(FileExistsError, match="exists and is not a directory"):
            train(checkpoint=tmp_path / "file", resume=resume)
        with pytest.raises(FileExistsError, match="neither empty nor a fastembed store"):
            train(checkpoint=tmp_path / "folder", resume=resume)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            train(checkpoint=tmp_path / "no" / "where", resume=resume)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path (str or os.PathLike), got int"),
        ({"checkpoint": ""}, ValueError, "got an empty string"),
        ({"resume": True}, ValueError, "resume=True needs a checkpoint"),
        ({"resume": "yes", "checkpoint": "x"}, TypeError, "resume must be True or False, got 'yes'"),
        ({"checkpoint_every": 5.0}, ValueError, "checkpoint_every needs a place"),
        ({"checkpoint_every": "minute", "checkpoint": "x"}, ValueError, "must be 'epoch' or a number of minutes"),
        ({"checkpoint_every": 0, "checkpoint": "x"}, ValueError, "checkpoint_every must be greater than 0, got 0"),
        ({"checkpoint_every": -1, "checkpoint": "x"}, ValueError, "checkpoint_every must be greater than 0"),
        ({"checkpoint_every": float("nan"), "checkpoint": "x"}, ValueError, "checkpoint_every must be finite"),
        ({"checkpoint_every": None, "checkpoint": "x"}, TypeError, "checkpoint_every must be a real number"),
        ({"checkpoint_every": True, "checkpoint": "x"}, TypeError, "checkpoint_every must be a real number, got bool"),
    ],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        train(**options)
    assert os.listdir(tmp_path) == []


OTHERS: dict[str, Any] = {
    "sg": False,
    "vector_size": 9,
    "window": 4,
    "negative": 6,
    "epochs": 3,
    "min_count": 2,
    "sample": 0.5,
    "alpha": 0.05,
    "min_alpha": 0.001,
    "cbow_mean": False,
    "ns_exponent": 0.5,
    "shrink_windows": False,
    "max_final_vocab": 1000,
    "max_vocab_size": 1000,
    "max_sentence_length": 50,
    "seed": 2**64 - 1,
    "precision": "float16",
    "errors": "ignore",
}


def test_every_option_that_matters_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(checkpoint=path)
    stored = metadata(path)["training"]["options"]
    assert stored.keys() == {*OTHERS, "negative_sharing", "deterministic"}
    for name, other in OTHERS.items():
        wanted = f"{name} is {other!r} but the checkpoint {str(path)!r} was made with {name}={stored[name]!r}"
        with pytest.raises(ValueError, match=re.escape(wanted)):
            train(checkpoint=path, resume=True, **{name: other})
    with pytest.raises(ValueError, match=r"negative_sharing is 'pair' but .* negative_sharing='tile'"):
        train(checkpoint=path, resume=True, negative_sharing="pair")
    harmless = {"workers": 2, "memory_budget": 10**6, "checkpoint_every": 3.0, "callbacks": [fastembed.Callback()]}
    train(checkpoint=path, resume=True, **harmless)


def test_an_option_that_the_writer_did_not_know_had_its_default(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(checkpoint=path)
    changed = metadata(path)
    del changed["training"]["options"]["negative_sharing"]
    (path / "metadata.json").write_text(json.dumps(changed))
    train(checkpoint=path, resume=True)
    with pytest.raises(ValueError, match=r"negative_sharing is 'pair' but .* negative_sharing='tile'"):
        train(checkpoint=path, resume=True, negative_sharing="pair")
    changed["training"]["options"]["magic"] = 1
    (path / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="has an option 'magic' that this fastembed does not know"):
        train(checkpoint=path, resume=True)


def test_another_corpus_is_an_error_with_both_facts(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(checkpoint=path)
    message = "was made with another corpus: it had tokens 162, sentences 27, .* this one has tokens 168, sentences 28"
    with pytest.raises(ValueError, match=message):
        train([*SENTENCES, SENTENCES[0]], checkpoint=path, resume=True)
    for same_counts in (
        SENTENCES[::-1],
        [sentence[::-1] for sentence in SENTENCES],
        [[word for sentence in SENTENCES for word in sentence]],
    ):
        with pytest.raises(ValueError, match="another corpus"):
            train(same_counts, checkpoint=path, resume=True)
    renamed = [[word.replace("tree", "trunk") for word in sentence] for sentence in SENTENCES]
    with pytest.raises(ValueError, match=r"another corpus|another vocabulary: 13 words counted 162 times"):
        train(renamed, checkpoint=path, resume=True)
    assert len(train(iter(SENTENCES), checkpoint=path, resume=True)) == 13  # the same, given otherwise


def test_another_vocabulary_of_the_same_numbers(tmp_path: Path) -> None:
    offsets = np.array([0, 6, 12])
    ids = np.array([1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 3, 3])
    train((ids, offsets), checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="has another vocabulary: 3 words counted 12 times; the corpus has 3"):
        train((ids + 4, offsets), checkpoint=tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["vectors", "output_vectors", "vocabulary", "counts"])
def test_a_damaged_checkpoint_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run"
    train(checkpoint=path)
    file = path / metadata(path)["files"][name]["name"]
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{re.escape(str(file))}: .*damaged"):
        train(checkpoint=path, resume=True)
    file.unlink()
    with pytest.raises(ValueError, match=f"{re.escape(str(file))}: named by metadata.json but missing"):
        train(checkpoint=path, resume=True)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("version", 2, "of version 2, this fastembed reads 1"),
        ("options", None, "damaged: its entry 'options' is None"),
        ("corpus", 3, "damaged: its entry 'corpus' is 3"),
        ("epochs_done", 1, "its history does not fit"),
        ("epochs_done", "two", "damaged: its entry 'epochs_done' is 'two'"),
    ],
)
def test_damaged_entries_are_errors(tmp_path: Path, entry: str, value: object, message: str) -> None:
    path = tmp_path / "run"
    train(checkpoint=path)
    changed = metadata(path)
    changed["training"][entry] = value
    (path / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=re.escape(message)):
        train(checkpoint=path, resume=True)


def test_no_room_on_the_disk_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: Usage(10**6, 999_000, 1000))
    with pytest.raises(OSError, match=r"checkpoints need [\d,]+ bytes .* but 1,000 are free"):
        train(checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    train(checkpoint=tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="not writable"):
        train(checkpoint=tmp_path / "closed" / "run")


def test_another_instruction_set_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(checkpoint=tmp_path / "run")
    before = fastembed.isa.active()
    _core.select_isa("scalar")
    try:
        with caplog.at_level(logging.WARNING, logger="fastembed"):
            train(checkpoint=tmp_path / "run", resume=True)
    finally:
        _core.select_isa(before)
    assert any("will not have the same bits" in message for message in caplog.messages) == (before != "scalar")


# Pieces


def test_crc32_of_an_array() -> None:
    import zlib

    for array in (np.arange(1000, dtype=np.int32), np.zeros((0,), np.int64), np.ones((3, 5), np.float32)):
        assert crc32_of(array) == zlib.crc32(array.tobytes())


def make_trainer() -> _core.Trainer:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, 40_000).astype(np.int32)
    return _core.Trainer(
        ids=ids, offsets=np.arange(0, 40_001, 100), counts=np.bincount(ids), vector_size=5, sg=True,
        negative_sharing="window", cbow_mean=True, shrink_windows=True, window=5, negative=5, epochs=2, alpha=0.025,
        min_alpha=0.0, sample=0.0, ns_exponent=0.75, seed=1, max_sentence_length=1000,
    )  # fmt: skip


def test_the_trainer_pauses_between_chunks() -> None:
    whole, parts = make_trainer(), make_trainer()
    assert parts.pause_point is None
    expected = whole.run_epoch(0, 1)
    totals, positions = None, []
    while totals is None or totals["token_count"] < 40_000:
        totals = parts.run_epoch(0, 1, start=totals, seconds=0.0)
        positions.append(totals["token_count"])
        assert parts.pause_point == {**totals, "epoch": 0}
    assert positions == [16_400, 32_800, 40_000]
    assert totals == expected
    assert parts.run_epoch(0, 1, start=totals) == expected  # nothing is left
    for got, want in zip(parts.copy_vectors(), whole.copy_vectors(), strict=True):
        assert np.array_equal(got, want)
    for position in (1, 16_384, 40_001):
        with pytest.raises(ValueError, match=f"an epoch does not pause at token {position} of 40000"):
            parts.run_epoch(0, 1, start={**totals, "token_count": position})
    with pytest.raises(ValueError, match="must not be negative"):
        parts.run_epoch(0, 1, start={**totals, "token_count": -1})


def test_the_trainer_checks_the_rows_it_is_given() -> None:
    trainer = make_trainer()
    rows, table = np.arange(2, dtype=np.int32), np.ones((2, 5), np.float32)
    for bad in ([0, 50], [-1, 0], [3, 3]):
        with pytest.raises(ValueError, match="is given twice or outside the vocabulary of 50 words"):
            trainer.continue_from(np.array(bad, dtype=np.int32), table)
    for wrong in (table[:1], np.ones((2, 6), np.float32), np.ones(10, np.float32)):
        with pytest.raises(ValueError, match=r"vectors must have shape \(2, 5\)"):
            trainer.continue_from(rows, wrong)
        with pytest.raises(ValueError, match=r"output_vectors must have shape \(2, 5\)"):
            trainer.continue_from(rows, table, wrong)
    with pytest.raises(TypeError):
        trainer.continue_from(rows, table.astype(np.float64))
    trainer.continue_from(rows, table, 2 * table)
    assert np.array_equal(trainer.copy_rows(False, 0, 2), table)
    assert np.array_equal(trainer.copy_rows(True, 0, 3), np.vstack([2 * table, np.zeros((1, 5))]))
    assert trainer.copy_rows(True, 7, 7).shape == (0, 5)
    with pytest.raises(ValueError, match=r"rows 49 \.\. 51 of 50"):
        trainer.copy_rows(False, 49, 51)


# The command line


def test_the_command_resumes_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus.txt").write_text("\n".join(" ".join(sentence) for sentence in SENTENCES))
    common = ["train", str(tmp_path / "corpus.txt"), "--min-count", "1", "--no-progress", "--workers", "1"]
    common += ["--checkpoint", str(tmp_path / "run"), "--checkpoint-every", "0.5"]
    assert cli.main([*common, "-o", str(tmp_path / "run")]) == 2
    assert "--checkpoint and --output must name different places" in capsys.readouterr().err
    assert cli.main([*common, "-o", str(tmp_path / "out")]) == 0
    assert cli.main([*common, "-o", str(tmp_path / "out")]) == 1
    assert "pass resume=True" in capsys.readouterr().err
    assert cli.main([*common, "-o", str(tmp_path / "out"), "--resume"]) == 0
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    assert "13" in capsys.readouterr().out
    wrong = [*common[:-1], "hour", "-o", str(tmp_path / "out")]
    assert cli.main(wrong) == 2
    assert "'epoch' or a number of minutes was wanted, got 'hour'" in capsys.readouterr().err
    more = ["train", str(tmp_path / "corpus.txt"), "--init", str(tmp_path / "out"), "-o", str(tmp_path / "more")]
    assert cli.main([*more, "--no-progress", "--checkpoint", str(tmp_path / "2"), "--checkpoint-every", "epoch"]) == 0
    counts = [WordVectors.load(tmp_path / name).counts for name in ("out", "more")]
    assert counts[0] is not None
    assert counts[1] is not None
    assert counts[1].sum() == 2 * counts[0].sum()
