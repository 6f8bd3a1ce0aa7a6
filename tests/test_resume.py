"""Checkpoints and resume: the bits of an unbroken run, whatever broke it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastembed
import fastembed._checkpoint as checkpoints
import fastembed._storage as storage
import fastembed._store as store
from fastembed import Callback, TrainingState, WordVectors
from interrupts import expect_an_answer

EVERY_CHUNK = 1e-9  # minutes
N_TOKENS = 70_000
CHUNKS = 4  # of whole sentences; 16,384 tokens or a little more

MODES: dict[str, dict[str, Any]] = {
    "skip-gram, tile": {},
    "skip-gram, tile, float16 rows": {"precision": "float16"},
    "skip-gram, window": {"negative_sharing": "window"},
    "skip-gram, pair": {"negative_sharing": "pair", "vector_size": 8},
    "CBOW, tile": {"sg": False},
    "CBOW, pair, sum": {"sg": False, "negative_sharing": "pair", "cbow_mean": False},
}


@cache
def corpus() -> tuple[np.ndarray, np.ndarray]:
    """Sentences of all lengths, one of them longer than a chunk."""
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(1.4, N_TOKENS), 400)
    borders = np.unique(rng.integers(0, N_TOKENS, 1500))
    borders = borders[(borders < 20_000) | (borders > 45_000)]
    return ids, np.concatenate(([0], borders[borders > 0], [N_TOKENS]))


def train(**options: Any) -> WordVectors:
    given = {"corpus": corpus(), "vector_size": 20, "epochs": 3, "workers": 1, "progress": False, **options}
    return fastembed.train_word2vec(given.pop("corpus"), **given)


@cache
def unbroken(mode: str) -> WordVectors:
    return train(**MODES[mode])


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in ("seconds", "words_per_second")} for record in history]


def assert_same(a: WordVectors, b: WordVectors) -> None:
    assert a.index_to_key == b.index_to_key
    assert timeless(a.history) == timeless(b.history)
    for name in ("vectors", "output_vectors", "counts"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.config == b.config


def training_of(path: Path) -> dict[str, Any]:
    return json.loads((path / "metadata.json").read_text())["training"]


class StopError(Exception):
    pass


class After(Callback):
    """Raises after so many epochs."""

    def __init__(self, epochs: int, error: BaseException) -> None:
        self.epochs, self.error = epochs, error

    def on_epoch_end(self, state: TrainingState) -> None:
        if len(state.history) == self.epochs:
            raise self.error


def stop_after_write(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The process ends, as far as the disk can tell, right after the checkpoint of this number is whole."""
    real, written = storage.save_store, []

    def save(*args: Any, **kwargs: Any) -> None:
        if len(written) == number:
            raise StopError
        real(*args, **kwargs)
        written.append(args)

    monkeypatch.setattr(checkpoints, "save_store", save)


# The same bits


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_resume_after_every_epoch(tmp_path: Path, mode: str, epochs: int) -> None:
    path = tmp_path / "run"
    with pytest.raises(StopError):
        train(**MODES[mode], checkpoint=path, callbacks=[After(epochs, StopError())])
    assert training_of(path)["epochs_done"] == epochs
    assert_same(train(**MODES[mode], checkpoint=path, resume=True), unbroken(mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("written", range(1, 3 * CHUNKS))
def test_resume_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, written: int) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after_write(patch, written)
        with pytest.raises(StopError):
            train(**MODES[mode], checkpoint=path, checkpoint_every=EVERY_CHUNK)
    entry = training_of(path)
    assert (entry["epochs_done"], bool(entry["epoch_progress"])) == (written // CHUNKS, written % CHUNKS != 0)
    for every in ("epoch", EVERY_CHUNK):
        copy = tmp_path / f"copy-{every}"
        copy.mkdir()
        for file in path.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        result = train(**MODES[mode], checkpoint=copy, checkpoint_every=every, resume=True)
        assert_same(result, unbroken(mode))


def test_checkpoints_do_not_change_the_result(tmp_path: Path) -> None:
    for every in ("epoch", 1000.0, EVERY_CHUNK):
        result = train(checkpoint=tmp_path / str(every), checkpoint_every=every)
        assert_same(result, unbroken("skip-gram, tile"))


def test_a_run_that_stops_at_every_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        with monkeypatch.context() as patch:
            stop_after_write(patch, 1)
            try:
                result = train(checkpoint=tmp_path / "run", checkpoint_every=EVERY_CHUNK, resume=True)
            except StopError:
                continue
        break
    assert_same(result, unbroken("skip-gram, tile"))


def test_resume_a_continued_training(tmp_path: Path) -> None:
    first = unbroken("skip-gram, tile")
    ids, offsets = corpus()
    options = {"corpus": (ids + 30, offsets), "init": first, "seed": 7}
    expected = train(**options)
    with pytest.raises(StopError):
        train(**options, checkpoint=tmp_path / "run", callbacks=[After(1, StopError())])
    assert_same(train(**options, checkpoint=tmp_path / "run", resume=True), expected)
    other = train(seed=3)
    with pytest.raises(ValueError, match=r"was made with another init: .*vectors_crc32 .*this one has"):
        train(**{**options, "init": other}, checkpoint=tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match=r"was made with another init: .* this one has none"):
        train(**{**options, "init": None}, checkpoint=tmp_path / "run", resume=True)


@pytest.mark.threads
def test_several_workers_train_every_token_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = unbroken("skip-gram, tile")
    with monkeypatch.context() as patch:
        stop_after_write(patch, 2)
        with pytest.raises(StopError):
            train(workers=3, checkpoint=tmp_path / "run", checkpoint_every=EVERY_CHUNK)
    result = train(workers=2, checkpoint=tmp_path / "run", checkpoint_every=EVERY_CHUNK, resume=True)
    for mine, theirs in zip(result.history, expected.history, strict=True):
        assert mine["positive_pairs"] == theirs["positive_pairs"]
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=0.05)


# Kill -9

_CHILD = """
import sys
import numpy as np, fastembed
path, every = sys.argv[1], sys.argv[2]
data = np.load(path + ".npz")
print("ready", flush=True)
wv = fastembed.train_word2vec((data["ids"], data["offsets"]), vector_size=200, epochs=5, workers=1, progress=False,
    checkpoint=path, checkpoint_every=every if every == "epoch" else float(every), resume=True)
print("done", flush=True)
"""


@pytest.mark.parametrize("every", ["epoch", str(EVERY_CHUNK)])
def test_kill_9_at_any_moment(tmp_path: Path, every: str) -> None:
    """Killed again and again, also while it writes, the job ends with the bits of an unbroken run."""
    package = str(Path(storage.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    ids, offsets = corpus()
    np.savez(tmp_path / "run.npz", ids=ids, offsets=offsets)
    rng = np.random.default_rng(len(every))
    path, places, kills = tmp_path / "run", [(0, 0)], 0
    longest = 0.03  # grows until there is progress: a machine may be slow
    while True:
        command = [sys.executable, "-c", _CHILD, str(path), every]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            try:
                child.wait(rng.uniform(0.0, longest))
            except subprocess.TimeoutExpired:
                child.kill()
                kills += 1
        longest *= 1.1 if places[-1] == places[max(0, len(places) - 4)] else 0.95
        if storage.is_store(path):
            WordVectors.load(path, mmap=False)  # whole, by its checksums
            entry = training_of(path)
            places.append((entry["epochs_done"], (entry["epoch_progress"] or {}).get("token_count", 0)))
            if entry["finished"]:
                break
    assert places == sorted(places)  # nothing that was once written was lost
    assert kills >= 5
    expected = train(vector_size=200, epochs=5)
    assert_same(train(vector_size=200, epochs=5, checkpoint=path, resume=True), expected)


@pytest.mark.parametrize("moment", ["vectors", "output_vectors", "counts", "vocabulary", "metadata", "cleaning"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "disk full")])
def test_a_broken_save_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: BaseException | type[BaseException]
) -> None:
    path = tmp_path / "run"
    with pytest.raises(StopError):
        train(checkpoint=path, callbacks=[After(1, StopError())])
    calls: list[str] = []

    def breaking(real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            if name(*args) == moment and moment not in calls:
                calls.append(moment)
                raise error
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_data", breaking(store._write_data, lambda _, name, __: name.split(".")[0]))
        patch.setattr(store, "_write_generation", breaking(store._write_generation, lambda *_: "metadata"))
        patch.setattr(store, "_remove_all_but", breaking(store._remove_all_but, lambda *_: "cleaning"))
        expected = fastembed.TrainingInterrupted if error is KeyboardInterrupt else OSError
        with pytest.raises(expected) as caught:
            train(checkpoint=path, resume=True)
    assert calls == [moment]
    # Ctrl-C writes once more what a broken save did not; a full disk is not tried again.
    done = training_of(path)["epochs_done"]
    assert done == 2 if error is KeyboardInterrupt else done in (1, 2)
    if isinstance(caught.value, fastembed.TrainingInterrupted):
        assert caught.value.checkpoint == str(path)
    WordVectors.load(path, mmap=False)
    assert_same(train(checkpoint=path, resume=True), unbroken("skip-gram, tile"))
    assert len(os.listdir(path)) == 5


# Ctrl-C and callbacks


@pytest.mark.timed
def test_ctrl_c_writes_a_last_checkpoint_promptly(tmp_path: Path) -> None:
    program = f"""
        import shutil
        shutil.rmtree({str(tmp_path / "run")!r}, ignore_errors=True)
        try:
            train(2000, 2_000_000, vector_size=50, epochs=50, workers=2, checkpoint={str(tmp_path / "run")!r},
                checkpoint_every=1000)
        except fastembed.TrainingInterrupted as interrupt:
            print("stopped", time.time(), interrupt.checkpoint)
    """

    def check(told: list[str]) -> None:
        assert told == [str(tmp_path / "run")]
        entry = training_of(tmp_path / "run")
        assert entry["epochs_done"] > 0 or entry["epoch_progress"]["token_count"] > 0

    expect_an_answer(program, 1.5 if fastembed.show_config()["sanitizers"] else 0.3, check)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C after so long, unless the block has ended."""
    armed = True

    def interrupt(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_INTERRUPTED = """
import json, signal, sys
import numpy as np, fastembed
folder, seed = sys.argv[1], int(sys.argv[2])
data = np.load(folder + "/corpus.npz")
rng, armed = np.random.default_rng(seed), False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

def train(**options):
    return fastembed.train_word2vec((data["ids"], data["offsets"]), vector_size=64, epochs=6, workers=1,
        progress=False, **options)

signal.signal(signal.SIGALRM, interrupt)
expected = train()
for run, every in enumerate([1000.0, 1e-9, "epoch"]):
    path, places = f"{folder}/{run}", [(0, 0)]
    for attempt in range(8):
        armed = True
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.002, 0.06))
        try:
            train(checkpoint=path, checkpoint_every=every, resume=True)
        except (KeyboardInterrupt, TypeError):  # numpy.fromfile may turn Ctrl-C into a TypeError
            pass
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            fastembed.WordVectors.load(path, mmap=False)
        except FileNotFoundError:
            continue
        entry = json.load(open(path + "/metadata.json"))["training"]
        places.append((entry["epochs_done"], (entry["epoch_progress"] or {}).get("token_count", 0)))
    assert places == sorted(places) and places[-1] > (0, 0), places
    result = train(checkpoint=path, resume=True)
    assert result.vectors.tobytes() == expected.vectors.tobytes(), places
    assert result.output_vectors.tobytes() == expected.output_vectors.tobytes()
    assert [record["loss"] for record in result.history] == [record["loss"] for record in expected.history]
"""


def test_ctrl_c_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """Also between a run of the trainer and our notes of it: the position is read from the trainer."""
    ids, offsets = corpus()
    np.savez(tmp_path / "corpus.npz", ids=ids, offsets=offsets)
    subprocess.run([sys.executable, "-c", _INTERRUPTED, str(tmp_path), "0"], check=True, timeout=120)


def test_an_interrupt_in_the_middle_of_a_chunk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """One sentence of 1,000,000 words is one chunk: it takes too long to wait for its end."""

    class Interrupting(Callback):
        def on_epoch_begin(self, state: TrainingState) -> None:
            if state.epoch == 1:
                signal.setitimer(signal.ITIMER_REAL, 0.02)

    ids = np.random.default_rng(0).integers(0, 100, 1_000_000)
    options = {"corpus": (ids, np.array([0, 1_000_000])), "max_sentence_length": 10**7, "sample": 0.0, "negative": 30}
    with interrupted_after(60.0):
        train(**options, epochs=2, checkpoint=tmp_path / "run", callbacks=[Interrupting()])
    entry = training_of(tmp_path / "run")
    assert (entry["epochs_done"], entry["epoch_progress"]) == (1, None)
    result = train(**options, epochs=2, checkpoint=tmp_path / "run", resume=True)
    assert_same(result, train(**options, epochs=2))


def test_an_interrupt_in_a_callback_writes_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(fastembed.TrainingInterrupted, match=f"resume from {str(path)!r}") as caught:
        train(checkpoint=path, checkpoint_every=1000, callbacks=[After(2, KeyboardInterrupt())])
    assert caught.value.checkpoint == str(path)
    assert training_of(path)["epochs_done"] == 2
    with pytest.raises(fastembed.TrainingInterrupted) as caught:
        train(callbacks=[After(1, KeyboardInterrupt())])
    assert caught.value.checkpoint is None


def test_callbacks_of_a_resumed_training(tmp_path: Path) -> None:
    class Recorder(Callback):
        def __init__(self) -> None:
            self.calls: list[tuple[str, int, int]] = []

        def on_train_begin(self, state: TrainingState) -> None:
            self.calls.append(("train begin", state.epoch, len(state.history)))
            self.first = state.snapshot()

        def on_epoch_begin(self, state: TrainingState) -> None:
            self.calls.append(("begin", state.epoch, len(state.history)))

        def on_epoch_end(self, state: TrainingState) -> None:
            self.calls.append(("end", state.epoch, len(state.history)))

        def on_train_end(self, state: TrainingState) -> None:
            self.calls.append(("train end", state.epoch, len(state.history)))

    with pytest.raises(StopError):
        train(checkpoint=tmp_path / "run", callbacks=[After(2, StopError())])
    stored = WordVectors.load(tmp_path / "run", mmap=False)
    recorder = Recorder()
    train(checkpoint=tmp_path / "run", resume=True, callbacks=[recorder])
    assert recorder.calls == [("train begin", 2, 2), ("begin", 2, 2), ("end", 2, 3), ("train end", 2, 3)]
    assert np.array_equal(recorder.first.vectors, stored.vectors)
    again = Recorder()
    train(checkpoint=tmp_path / "run", resume=True, callbacks=[again])
    assert again.calls == [("train begin", 2, 3), ("train end", 2, 3)]


def test_the_progress_bar_begins_where_training_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StopError):
        train(checkpoint=tmp_path / "run", callbacks=[After(2, StopError())])
    train(checkpoint=tmp_path / "run", resume=True, progress=True)
    shown = [int(percent) for percent in re.findall(r"skip-gram:\s+(\d+)%", capsys.readouterr().err)]
    assert shown[0] in (66, 67)
    assert shown[-1] == 100
