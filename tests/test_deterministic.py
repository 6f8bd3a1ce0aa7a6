"""deterministic=True: the same bits for any number of workers, and what that must not break."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastembed
import fastembed._checkpoint as checkpoints
import fastembed._storage as storage
from fastembed import Callback, TrainingState, WordVectors, _core
from interrupts import expect_an_answer
from reference.tile import TileReference
from test_training_reference import CASES, small_real_text
from tiers import TRAINING_ISAS

WORKERS = (2, 3, 4, 7)
EVERY_CHUNK = 1e-9  # minutes
N_TOKENS = 70_000


@cache
def corpus(words: int = 3000, exponent: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """A few words very often, so that they repeat within a tile and between the tiles of a round."""
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(exponent, N_TOKENS), words)
    ids[30_000:30_400] = 5  # tiles of one word alone
    borders = np.unique(rng.integers(0, N_TOKENS, 1500))
    borders = borders[(borders < 20_000) | (borders > 45_000)]
    return ids, np.concatenate(([0], borders[borders > 0], [N_TOKENS]))


def train(**options: Any) -> WordVectors:
    given = {
        "corpus": corpus(),
        "vector_size": 20,
        "epochs": 2,
        "workers": 1,
        "negative_sharing": "tile",
        "deterministic": True,
        "progress": False,
        **options,
    }
    return fastembed.train_word2vec(given.pop("corpus"), **given)


def bits(vectors: WordVectors) -> tuple[Any, ...]:
    history = [(record["loss"], record["positive_pairs"], record["learning_rate"]) for record in vectors.history]
    assert vectors.output_vectors is not None
    assert np.isfinite(vectors.vectors).all()
    return vectors.vectors.tobytes(), vectors.output_vectors.tobytes(), history


def round_tiles(caplog: pytest.LogCaptureFixture, **options: Any) -> int:
    """As the warning tells it."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fastembed"):
        train(**options, epochs=1, workers=20)
    (said,) = [record.args for record in caplog.records if "tiles at a time" in record.msg]
    assert said is not None
    return int(said[0])


OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {"alpha": 0.01},
    "the steepest rounds": {},
    "another seed, one column": {"seed": 2**63 + 7, "vector_size": 1, "alpha": 0.01},
    "wide": {"vector_size": 129, "window": 12, "shrink_windows": False, "seed": 3, "alpha": 0.002},
    "window 1, 1 negative": {"window": 1, "negative": 1, "max_sentence_length": 7, "sample": 0.0, "alpha": 0.01},
    "bfloat16": {"precision": "bfloat16", "vector_size": 33, "alpha": 0.01},
    "float16": {"precision": "float16", "seed": 5, "alpha": 0.01},
    "40 words": {"corpus": corpus(40, 1.5), "sample": 0.0, "alpha": 0.002},
    "CBOW": {"sg": False, "alpha": 0.01},
    "CBOW, sums, wide": {"sg": False, "cbow_mean": False, "vector_size": 129, "window": 12, "seed": 3, "alpha": 0.002},
    "CBOW, window 1, 1 negative": {"sg": False, "window": 1, "negative": 1, "max_sentence_length": 7, "sample": 0.0},
    "CBOW, bfloat16": {"sg": False, "precision": "bfloat16", "vector_size": 33, "alpha": 0.01},
    "CBOW, float16": {"sg": False, "precision": "float16", "seed": 5, "alpha": 0.01},
}
#: Trained by one worker, whatever is asked for.
UNSHARED: dict[str, dict[str, Any]] = {
    "window": {"negative_sharing": "window"},
    "pair": {"negative_sharing": "pair"},
    "CBOW by windows": {"negative_sharing": "window", "sg": False},
    "CBOW, pair": {"negative_sharing": "pair", "sg": False},
}


@pytest.mark.parametrize("isa", TRAINING_ISAS)
@pytest.mark.parametrize("case", OPTIONS)
def test_any_number_of_workers_gives_the_same_bits(case: str, isa: str) -> None:
    before = fastembed.isa.active()
    _core.select_isa(isa)
    try:
        expected = bits(train(**OPTIONS[case]))
        for workers in WORKERS:
            assert bits(train(**OPTIONS[case], workers=workers)) == expected, workers
    finally:
        _core.select_isa(before)


@pytest.mark.threads
@pytest.mark.parametrize("workers", WORKERS)
def test_a_short_training_races_nowhere(workers: int) -> None:
    """For the thread sanitizer, without the suppressions that Hogwild needs."""
    options = {"epochs": 1, "alpha": 0.01, "corpus": (corpus()[0][:40_000], np.array([0, 20_000, 40_000]))}
    assert bits(train(**options, workers=workers)) == bits(train(**options))


def test_many_times_the_same() -> None:
    options = {"corpus": (corpus()[0][:17_000], np.array([0, 9000, 17_000])), "epochs": 3, "alpha": 0.01}
    expected = bits(train(**options))
    assert {bits(train(**options, workers=3))[0] for _ in range(30)} == {expected[0]}


def test_the_seed_matters() -> None:
    assert bits(train(seed=2, workers=2))[0] != bits(train(seed=1, workers=2))[0]


@pytest.mark.parametrize("sg", [True, False])
def test_a_round_of_one_tile_is_the_plain_algorithm(sg: bool) -> None:
    """Float32 rows get the same sums in the same order."""
    steep = {"corpus": corpus(40, 1.5), "sample": 0.0, "alpha": 0.01, "sg": sg}
    plain = train(**steep, deterministic=False)
    same = train(**steep, workers=2)
    assert np.array_equal(plain.vectors, same.vectors)
    assert np.array_equal(plain.output_vectors, same.output_vectors)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].get("deterministic")])
def test_rounds_are_as_long_as_the_reference_says(case: str) -> None:
    ids, offsets, counts = small_real_text()
    rounds = []
    for alpha in (0.001, CASES[case]["alpha"], 0.01, 0.02, 0.04, 0.4):
        options = {**CASES[case], "alpha": alpha}
        wanted = TileReference(ids, offsets, counts, **options).round_tiles()
        defaults = {"sg": True, "cbow_mean": True, "shrink_windows": True, "window": 5, "negative": 5, "epochs": 1}
        defaults |= {"min_alpha": 1e-4, "sample": 1e-3, "ns_exponent": 0.75, "seed": 1, "max_sentence_length": 10_000}
        trainer = _core.Trainer(ids=ids, offsets=offsets, counts=counts, **{**defaults, **options})
        assert trainer.round_tiles == wanted
        rounds.append(wanted)
    assert rounds[1] > 1, "the comparison of whole runs must not be one of single tiles"
    assert rounds[0] == 8
    assert rounds[-1] == 1


def test_frequent_words_shorten_the_rounds(caplog: pytest.LogCaptureFixture) -> None:
    small = corpus(400, 1.4)
    assert round_tiles(caplog, corpus=small, alpha=0.001) == 8
    assert round_tiles(caplog, corpus=small) == 1
    losses = [record["loss"] for record in train(corpus=small, workers=3, epochs=3).history]
    assert losses[2] < losses[0] < 4.2


def test_quality_of_the_loss() -> None:
    ids = np.minimum(np.random.default_rng(0).zipf(1.2, N_TOKENS), 3000)
    options = {"corpus": (ids, np.arange(0, N_TOKENS + 1, 35)), "epochs": 3, "alpha": 0.01}
    plain = train(**options, deterministic=False).history[-1]["loss"]
    assert train(**options).history[-1]["loss"] == pytest.approx(plain, rel=0.02)


def test_nearly_nothing_to_train_on() -> None:
    """One tile, fewer tiles than workers, and chunks that subsampling leaves empty."""
    for ids in ([1, 2, 3, 1, 2, 3] * 4, list(np.random.default_rng(0).integers(0, 99, 900))):
        tiny = (np.array(ids), np.array([0, len(ids)]))
        expected = bits(train(corpus=tiny, min_count=1))
        for workers in WORKERS:
            assert bits(train(corpus=tiny, min_count=1, workers=workers)) == expected
    ids = np.repeat(np.array([0, 1]), 40_000)
    empty = (ids, np.arange(0, len(ids) + 1, 20))
    assert bits(train(corpus=empty, sample=1e-12, workers=3)) == bits(train(corpus=empty, sample=1e-12))


@pytest.mark.parametrize("case", UNSHARED)
def test_other_modes_train_with_one_worker(case: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = bits(train(**UNSHARED[case], deterministic=False))
    with caplog.at_level(logging.WARNING, "fastembed"):
        assert bits(train(**UNSHARED[case])) == expected
        assert not caplog.records
        for workers in (2, 3):
            assert bits(train(**UNSHARED[case], workers=workers)) == expected
    assert [record.getMessage() for record in caplog.records] == [
        f"deterministic=True with negative_sharing={UNSHARED[case]['negative_sharing']!r} trains with one worker: the "
        f"others of the {workers} have no work"
        for workers in (2, 3)
    ]


@pytest.mark.parametrize("options", [{"alpha": 0.01}, {"alpha": 0.01, "sg": False}, *UNSHARED.values()], ids=str)
def test_going_on_from_known_vectors(options: dict[str, Any]) -> None:
    ids, offsets = corpus()
    known = train(**options, corpus=(ids[:20_000] % 900, np.array([0, 20_000])), epochs=1)
    expected = bits(train(**options, corpus=(ids, offsets), init=known))
    for workers in (2, 3):
        assert bits(train(**options, corpus=(ids, offsets), init=known, workers=workers)) == expected


def test_the_argument_is_checked() -> None:
    with pytest.raises(TypeError, match="deterministic"):
        train(deterministic="yes")


# Checkpoints


class StopError(Exception):
    pass


RESUMED: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "CBOW": {"sg": False},
    "CBOW, bfloat16": {"sg": False, "precision": "bfloat16"},
    "window": {"negative_sharing": "window"},
    "pair": {"negative_sharing": "pair"},
}


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("written", [1, 2, 4, 5])
def test_resume_with_another_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, case: str
) -> None:
    options = {"alpha": 0.01, **RESUMED[case]}
    expected = bits(train(**options))
    real, count = storage.save_store, []

    def save(*args: Any, **kwargs: Any) -> None:
        if len(count) == written:
            raise StopError
        real(*args, **kwargs)
        count.append(args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_store", save)
        with pytest.raises(StopError):
            train(**options, workers=3, checkpoint=tmp_path / "run", checkpoint_every=EVERY_CHUNK)
    result = train(**options, workers=2, checkpoint=tmp_path / "run", checkpoint_every=EVERY_CHUNK, resume=True)
    assert bits(result) == expected


def test_deterministic_is_an_option_that_matters(tmp_path: Path) -> None:
    train(checkpoint=tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match=r"deterministic is False but the checkpoint .* deterministic=True"):
        train(checkpoint=tmp_path / "run", epochs=1, deterministic=False, resume=True)


# Early ends


@pytest.mark.slow
@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 3])
def test_an_exception_in_the_tick_ends_all_workers(workers: int) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2000, 500_000).astype(np.int32)
    offsets, counts = np.array([0, len(ids)], dtype=np.int64), np.bincount(ids).astype(np.int64)
    given = {"sg": True, "cbow_mean": True, "shrink_windows": True, "window": 5, "negative": 5, "epochs": 500}
    given |= {"alpha": 0.01, "min_alpha": 1e-4, "sample": 0.0, "ns_exponent": 0.75, "seed": 1, "vector_size": 300}
    trainer = _core.Trainer(
        ids=ids, offsets=offsets, counts=counts, max_sentence_length=1000, negative_sharing="tile", deterministic=True,
        **given,
    )  # fmt: skip
    assert trainer.round_tiles == 8

    def tick(progress: _core.EpochProgress) -> None:
        raise StopError

    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(StopError):
            trainer.run_epoch(0, workers, tick)
    assert _core.pool_thread_count() == 0
    assert threading.active_count() == before
    assert trainer.pause_point is None
    trainer.run_epoch(0, workers)  # and it can go on


_SHORT_OF_MEMORY = """
import resource
import numpy as np
from fastembed import _core

ids = np.random.default_rng(0).integers(0, 50, 4000).astype(np.int32)
trainer = _core.Trainer(ids=ids, offsets=np.array([0, 4000]), counts=np.bincount(ids).astype(np.int64), sg=True,
    vector_size=20000, negative_sharing="tile", cbow_mean=True, shrink_windows=True, window=5, negative=5, epochs=1,
    alpha=0.001, min_alpha=1e-4, sample=0.0, ns_exponent=0.75, seed=1, max_sentence_length=10000, deterministic=True)
failures = 0
for megabytes in range(100, 420, 20):
    _core.retire_idle_threads()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 1_000_000, resource.RLIM_INFINITY))
    try:
        trainer.run_epoch(0, 4)
    except (MemoryError, RuntimeError):  # no memory; no further thread
        failures += 1
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
trainer.run_epoch(0, 4)
print("failures", failures)
"""


@pytest.mark.skipif(bool(_core.sanitizers), reason="sanitizers reserve terabytes of addresses")
def test_a_worker_without_memory_leaves_nobody_waiting() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_MEMORY], capture_output=True, text=True, timeout=100, check=True
    )
    assert int(run.stdout.split()[1]) >= 3


def test_an_exception_in_a_callback() -> None:
    class Failing(Callback):
        def on_epoch_end(self, state: TrainingState) -> None:
            raise StopError

    with pytest.raises(StopError):
        train(workers=3, callbacks=[Failing()])
    assert _core.pool_thread_count() == 0


@pytest.mark.timed
@pytest.mark.parametrize("workers", [2, 7])
def test_ctrl_c_is_answered_promptly(workers: int) -> None:
    program = f"""
        try:
            train(2000, 2_000_000, epochs=50, workers={workers}, negative_sharing="tile", deterministic=True)
        except fastembed.TrainingInterrupted:
            print("stopped", time.time(), fastembed._core.pool_thread_count())
    """

    def check(told: list[str]) -> None:
        assert told == ["0"]

    expect_an_answer(program, 1.5 if fastembed.show_config()["sanitizers"] else 0.2, check)
