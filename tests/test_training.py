"""train_word2vec as a user meets it: arguments, loss, progress, callbacks, Ctrl-C, threads, fork."""

from __future__ import annotations

import logging
import math
import os
import pydoc_data.topics
import re
import subprocess
import sys
import textwrap
import threading
from functools import cache
from typing import Any

import numpy as np
import pytest

import fastembed
from fastembed import _core
from interrupts import expect_an_answer


@cache
def sentences() -> list[list[str]]:
    """Real English of a few 10,000 words that every Python has: its language reference."""
    text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)).lower()
    return [words for part in re.split(r"[.:;]\s", text) if len(words := re.findall(r"[a-z_]+", part)) > 1]


def train(**options: Any) -> fastembed.WordVectors:
    given = {"vector_size": 32, "epochs": 2, "workers": 1, "progress": False, **options}
    return fastembed.train_word2vec(given.pop("corpus", sentences()), **given)


def test_defaults_are_gensims_but_for_the_alpha_of_cbow() -> None:
    config = train(vector_size=100, epochs=5).config
    expected = {
        "sg": True,
        "vector_size": 100,
        "window": 5,
        "negative": 5,
        "epochs": 5,
        "min_count": 5,
        "sample": 1e-3,
        "alpha": 0.025,
        "min_alpha": 1e-4,
        "cbow_mean": True,
        "ns_exponent": 0.75,
        "shrink_windows": True,
        "max_final_vocab": None,
        "seed": 1,
        "negative_sharing": "tile",
    }
    assert expected.items() <= config.items()
    assert train(sg=False).config["alpha"] == 0.05
    assert train(sg=False, alpha=0.025).history[0]["learning_rate"] < train(sg=False).history[0]["learning_rate"]


def test_result_is_complete() -> None:
    wv = train()
    assert wv.vectors.shape == (len(wv), 32)
    assert wv.vectors.dtype == np.float32
    assert wv.vectors.flags.c_contiguous
    assert wv.output_vectors is not None
    assert wv.output_vectors.shape == wv.vectors.shape
    assert wv.counts is not None
    assert list(wv.counts) == sorted(wv.counts, reverse=True)
    assert min(wv.counts) >= 5
    assert len(wv.history) == 2
    assert np.isfinite(wv.vectors).all()


def test_skip_gram_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fastembed"):
        train(epochs=1)
        train(epochs=1, sg=False)
    assert "skip-gram" in caplog.messages[0]
    assert any("CBOW" in message for message in caplog.messages)
    assert any("words/s" in message for message in caplog.messages)


@pytest.mark.parametrize("mode", [{"sg": True}, {"sg": True, "negative_sharing": "pair"}, {"sg": False}])
def test_loss_is_the_mean_negative_log_likelihood(mode: dict[str, Any]) -> None:
    """At the start every probability is about a half: 6 ln 2 per pair (a negative equal to the center is skipped)."""
    start = train(epochs=1, alpha=1e-9, min_alpha=0.0, **mode).history[0]["loss"]
    assert 5.8 * math.log(2) < start <= 6 * math.log(2) + 1e-6
    losses = [record["loss"] for record in train(epochs=6, alpha=0.05, **mode).history]
    assert losses[-1] < losses[0] < start
    assert losses[-1] > 0


@pytest.mark.threads
def test_loss_is_the_same_for_one_and_many_workers() -> None:
    one = [record["loss"] for record in train(epochs=4, workers=1).history]
    many = [record["loss"] for record in train(epochs=4, workers=3).history]
    assert many == pytest.approx(one, rel=0.02)


@pytest.mark.threads
def test_every_token_is_trained_whatever_the_workers() -> None:
    pairs = {workers: train(epochs=1, workers=workers).history[0]["positive_pairs"] for workers in (1, 2, 5)}
    assert len(set(pairs.values())) == 1  # draws belong to positions, not to workers


def test_same_seed_same_bits() -> None:
    first, second, other = train(seed=5), train(seed=5), train(seed=6)
    assert np.array_equal(first.vectors, second.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_related_words_come_together() -> None:
    wv = train(vector_size=50, epochs=20)
    related = wv.similarity("integer", "float")
    unrelated = wv.similarity("integer", "exception")
    assert related > unrelated


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"vector_size": 0}, ValueError, "vector_size must be between 1 and 65536, got 0"),
        ({"vector_size": 1.5}, TypeError, "vector_size must be an int, got float"),
        ({"vector_size": True}, TypeError, "vector_size must be an int, got bool"),
        ({"window": 0}, ValueError, "window must be between"),
        ({"negative": 0}, ValueError, "negative must be between 1"),
        ({"epochs": -1}, ValueError, "epochs must be between"),
        ({"sample": -1e-3}, ValueError, "sample must be at least 0"),
        ({"sample": math.nan}, ValueError, "sample must be finite"),
        ({"alpha": 0.0}, ValueError, "alpha must be greater than 0"),
        ({"alpha": "fast"}, TypeError, "alpha must be a real number, got str"),
        ({"min_alpha": 0.5}, ValueError, "min_alpha must not exceed alpha"),
        ({"ns_exponent": math.inf}, ValueError, "ns_exponent must be finite"),
        ({"alpha": 10**400}, ValueError, "alpha must be within float64"),
        ({"alpha": 1e39}, ValueError, "alpha must be at most 1e+38, got 1e+39"),
        ({"sg": "yes"}, TypeError, "sg must be True or False"),
        ({"cbow_mean": np.ones(2, dtype=bool)}, TypeError, "cbow_mean must be True or False, got array"),
        ({"negative_sharing": "batch"}, ValueError, "negative_sharing must be 'tile', 'window' or 'pair', got 'batch'"),
        ({"negative_sharing": 3}, TypeError, "negative_sharing must be"),
        ({"seed": -1}, ValueError, "seed must be between 0"),
        ({"workers": 0}, ValueError, "workers must be between 1"),
        ({"max_sentence_length": 1}, ValueError, "max_sentence_length must be between 2"),
        ({"callbacks": [print]}, TypeError, "callbacks must be fastembed.Callback objects"),
        ({"callbacks": None}, TypeError, "callbacks must be an iterable of fastembed.Callback objects, got NoneType"),
        ({"callbacks": fastembed.Callback()}, TypeError, "fastembed.Callback objects, got Callback"),
        ({"min_count": 10**6}, ValueError, "min_count"),
        ({"corpus": []}, ValueError, "empty"),
        ({"corpus": ["plain", "strings"]}, TypeError, "token lists"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message) if "(" not in message else message):
        train(**options)


def test_a_word_that_is_never_kept_or_alone_is_harmless() -> None:
    wv = fastembed.train_word2vec([["a"], ["b"], ["a", "b"]] * 10, vector_size=8, min_count=1, progress=False)
    assert len(wv) == 2
    lonely = fastembed.train_word2vec([["a"], ["b"]] * 10, vector_size=8, min_count=1, progress=False)
    assert math.isnan(lonely.history[0]["loss"])  # no positive pair, so no mean


@pytest.mark.slow
@pytest.mark.parametrize("sg", [True, False])
@pytest.mark.parametrize("words", [4, 8, 16, 24])
def test_many_workers_on_few_words_do_not_diverge(words: int, sg: bool, caplog: pytest.LogCaptureFixture) -> None:
    corpus = [[f"w{i}" for i in range(words)] * 20] * (80_000 // words)
    with caplog.at_level(logging.WARNING, logger="fastembed"):
        vectors = train(corpus=corpus, vector_size=100, epochs=8, workers=4, sg=sg)
    assert any("so few words" in message for message in caplog.messages)
    assert np.abs(vectors.vectors).max() < 4
    assert all(0 < epoch["loss"] < 5 for epoch in vectors.history)


@pytest.mark.parametrize("sg", [True, False])
@pytest.mark.parametrize("sharing", ["tile", "window", "pair"])
def test_divergence_is_said(sharing: str, sg: bool, caplog: pytest.LogCaptureFixture) -> None:
    ids = np.random.default_rng(0).zipf(1.3, 20_000) % 300
    options = {"alpha": 50.0, "sample": 0.0, "negative_sharing": sharing, "sg": sg}
    with caplog.at_level(logging.WARNING, logger="fastembed"):
        train(corpus=(ids, np.arange(0, 20_001, 100)), epochs=3, **options)
    wanted = [f"training has diverged in epoch {epoch}" for epoch in (1, 2, 3)]
    assert [message.split(":")[0] for message in caplog.messages] == wanted


def test_text_is_trained_by_all_workers(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="fastembed"):
        train(workers=8)
        train(workers=8, sample=0.0)
    assert not caplog.messages


def test_long_sentences_are_cut_not_dropped() -> None:
    flat = [word for sentence in sentences() for word in sentence]
    options = {"corpus": [flat], "epochs": 1, "sample": 0.0, "shrink_windows": False}
    whole = train(**options, max_sentence_length=10**7).history[0]["positive_pairs"]
    cut = train(**options, max_sentence_length=1000)
    kept = int(cut.counts.sum())
    pieces = math.ceil(kept / 1000)
    lost_at_a_cut = 5 * 6  # pairs of a window of 5 that a cut separates, both ways
    assert whole - cut.history[0]["positive_pairs"] == (pieces - 1) * lost_at_a_cut


def test_progress_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    train(progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "skip-gram" in captured.err
    assert "loss=" in captured.err
    train(progress=False)
    assert capsys.readouterr().err == ""


class Recorder(fastembed.Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.snapshots: list[fastembed.WordVectors] = []

    def on_train_begin(self, state: fastembed.TrainingState) -> None:
        self.calls.append(("train begin", len(state.history)))

    def on_epoch_begin(self, state: fastembed.TrainingState) -> None:
        self.calls.append(("begin", state.epoch))

    def on_epoch_end(self, state: fastembed.TrainingState) -> None:
        self.calls.append(("end", state.epoch))
        self.snapshots.append(state.snapshot())

    def on_train_end(self, state: fastembed.TrainingState) -> None:
        self.calls.append(("train end", len(state.history)))


def test_callbacks_come_in_order_and_see_the_vectors() -> None:
    recorder = Recorder()
    wv = train(callbacks=[recorder])
    assert recorder.calls == [("train begin", 0), ("begin", 0), ("end", 0), ("begin", 1), ("end", 1), ("train end", 2)]
    assert np.array_equal(recorder.snapshots[1].vectors, wv.vectors)
    assert not np.array_equal(recorder.snapshots[0].vectors, wv.vectors)


def test_an_exception_in_a_callback_stops_training() -> None:
    class Failing(fastembed.Callback):
        def on_epoch_end(self, state: fastembed.TrainingState) -> None:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(callbacks=[Failing()])
    assert len(train()) > 100  # and the next call works


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_between_epochs_leaves_no_thread_behind(error: type[BaseException]) -> None:
    class Failing(fastembed.Callback):
        def on_epoch_end(self, state: fastembed.TrainingState) -> None:
            assert _core.pool_thread_count() >= 2
            raise error

    with pytest.raises(error):
        train(workers=2, callbacks=[Failing()])
    assert _core.pool_thread_count() == 0


def test_an_interrupt_in_a_callback_keeps_the_vectors() -> None:
    class Interrupting(fastembed.Callback):
        def on_epoch_end(self, state: fastembed.TrainingState) -> None:
            if state.epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(fastembed.TrainingInterrupted) as caught:
        train(epochs=5, callbacks=[Interrupting()])
    assert caught.value.epochs_done == 2
    assert np.isfinite(caught.value.vectors.vectors).all()
    assert len(caught.value.vectors.history) == 2


@pytest.mark.timed
@pytest.mark.parametrize("options", ["workers=2", "workers=1, sg=False", "workers=2, negative_sharing='pair'"])
def test_ctrl_c_is_answered_within_a_fifth_of_a_second(options: str) -> None:
    program = f"""
        import threading
        def system_threads():
            return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()
        before = system_threads()
        try:
            train(5000, 400_000, epochs=10_000, {options})
        except fastembed.TrainingInterrupted as interrupt:
            stopped = time.time()
            while system_threads() > before and time.time() < stopped + 0.2:
                time.sleep(0.005)  # a joined thread may be listed for another moment
            print("stopped", stopped, len(interrupt.vectors), system_threads() - before)
    """

    def check(told: list[str]) -> None:
        word_count, threads_left = map(int, told)
        assert word_count == 5000
        assert threads_left <= 0

    expect_an_answer(program, 1.0 if fastembed.show_config()["sanitizers"] else 0.2, check)


@pytest.mark.threads
def test_training_from_many_python_threads() -> None:
    expected = train(epochs=1)
    results: dict[int, fastembed.WordVectors] = {}

    def run(number: int) -> None:
        results[number] = train(epochs=1)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(np.array_equal(wv.vectors, expected.vectors) for wv in results.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_training_works_again_in_a_forked_child() -> None:
    program = textwrap.dedent("""
        import os, sys
        import numpy as np, fastembed
        ids = np.random.default_rng(0).integers(0, 50, 20_000)
        offsets = np.arange(0, 20_001, 100)
        def train():
            return fastembed.train_word2vec((ids, offsets), vector_size=16, epochs=1, workers=2, progress=False)
        train()
        child = os.fork()
        if child == 0:
            ok = len(train()) == 50
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if len(train()) == 50 else 1)
            os._exit(0 if ok and os.waitpid(grandchild, 0)[1] == 0 else 1)
        status = os.waitpid(child, 0)[1]
        assert len(train()) == 50
        sys.exit(0 if status == 0 else 1)
    """)
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=60, check=False).returncode == 0
