"""A whole one-worker run equals the float64 reference, which draws from the same random streams."""

from __future__ import annotations

import pydoc_data.topics
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

import fastembed
from fastembed import _core
from reference.sgns import Reference
from reference.tile import TileReference
from tiers import TRAINING_ISAS

TOLERANCE = 1e-4
# Products of bfloat16 operands: a row, a gradient and a row again are rounded to 8 bits, at most 2^-8 each and half of
# that on average, and the errors of many steps do not all point the same way. The bound for a single step is checked
# in tests/cpp/tile_check.cpp.
BFLOAT16_TOLERANCE = 2.0**-7


def tolerance(case: str, isa: str) -> float:
    """The bound for a run: float32 kernels everywhere but in the tile step of some instruction sets."""
    options = CASES[case]
    tiers = ("avx512bf16", "amx") if options.get("sg", True) else ("avx512bf16",)
    return BFLOAT16_TOLERANCE if options.get("negative_sharing") == "tile" and isa in tiers else TOLERANCE


@cache
def small_real_text() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """About 1,500 words of the Python language reference, encoded: ids, offsets, counts (most frequent first)."""
    text = pydoc_data.topics.topics["class"] + pydoc_data.topics.topics["with"] + pydoc_data.topics.topics["try"]
    sentences = [re.findall(r"[a-z]+", sentence) for sentence in text.lower().split(".")]
    counts = Counter(word for sentence in sentences for word in sentence)
    words = sorted((word for word in counts if counts[word] >= 2), key=lambda word: (-counts[word], word))
    index = {word: i for i, word in enumerate(words)}
    encoded = [[index[word] for word in sentence if word in index] for sentence in sentences]
    encoded = [sentence for sentence in encoded if sentence]
    ids = np.array([i for sentence in encoded for i in sentence], dtype=np.int32)
    offsets = np.cumsum([0] + [len(sentence) for sentence in encoded]).astype(np.int64)
    return ids, offsets, np.bincount(ids).astype(np.int64)


DEFAULTS: dict[str, Any] = {
    "sg": True,
    "negative_sharing": "window",
    "cbow_mean": True,
    "shrink_windows": True,
    "window": 5,
    "negative": 5,
    "epochs": 1,
    "alpha": 0.025,
    "min_alpha": 1e-4,
    "sample": 1e-3,
    "ns_exponent": 0.75,
    "seed": 1,
    "max_sentence_length": 10_000,
}


def train(
    isa: str, options: dict[str, Any], initial: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    given = {**DEFAULTS, **options}
    ids, offsets, counts = small_real_text()
    trainer = _core.Trainer(ids=ids, offsets=offsets, counts=counts, **given)
    if initial is not None:
        trainer.continue_from(np.arange(len(initial), dtype=np.int32), initial)
    before = fastembed.isa.active()
    _core.select_isa(isa)
    try:
        epochs = [trainer.run_epoch(epoch, 1) for epoch in range(given["epochs"])]
    finally:
        _core.select_isa(before)
    losses = [epoch["loss"] / max(epoch["positive_count"], 1) for epoch in epochs]
    vectors, output_vectors = trainer.take_vectors()
    return vectors, output_vectors, losses


def largest_row_error(got: np.ndarray, want: np.ndarray) -> float:
    scale = np.maximum(np.linalg.norm(want, axis=1), 1e-3 * np.linalg.norm(want, axis=1).max())
    return float((np.linalg.norm(got - want, axis=1) / scale).max())


CASES: dict[str, dict[str, Any]] = {
    "skip-gram, window": {"vector_size": 20, "epochs": 2, "alpha": 0.1},
    "skip-gram, pair": {"vector_size": 20, "epochs": 2, "alpha": 0.1, "negative_sharing": "pair"},
    "skip-gram, tile": {"vector_size": 20, "epochs": 2, "alpha": 0.05, "negative_sharing": "tile"},
    "CBOW, mean": {"vector_size": 20, "sg": False, "alpha": 0.1},
    "CBOW, sum": {"vector_size": 20, "sg": False, "cbow_mean": False, "alpha": 0.1, "negative_sharing": "pair"},
    "no subsampling, wide fixed windows": {"vector_size": 7, "sample": 0.0, "window": 12, "shrink_windows": False},
    "many negatives": {"vector_size": 33, "negative": 13, "sample": 1e-2, "alpha": 0.05},
    "one negative, short pieces": {"vector_size": 16, "negative": 1, "max_sentence_length": 7, "sample": 0.0},
    "tile, wide fixed windows": {
        "vector_size": 17,
        "window": 20,
        "negative": 1,
        "shrink_windows": False,
        "sample": 1e-2,
        "alpha": 0.01,
        "negative_sharing": "tile",
    },
    "tile, window 1, 1 negative, short pieces": {
        "vector_size": 40,
        "window": 1,
        "negative": 1,
        "max_sentence_length": 7,
        "negative_sharing": "tile",
        "sample": 0.0,
        "alpha": 0.1,
    },
    "tile, window 7, 9 negatives": {
        "vector_size": 129,
        "window": 7,
        "negative": 9,
        "negative_sharing": "tile",
        "seed": 3,
    },
    "tile, 1024 columns": {
        "vector_size": 1024,
        "window": 6,
        "negative": 2,
        "alpha": 0.01,
        "negative_sharing": "tile",
    },
    "CBOW, tile, window 20 of 1024 columns": {
        "vector_size": 1024,
        "sg": False,
        "window": 20,
        "alpha": 0.01,
        "negative_sharing": "tile",
    },
    "CBOW, tile": {"vector_size": 20, "sg": False, "epochs": 2, "alpha": 0.05, "negative_sharing": "tile"},
    "tile, long steps held back": {
        "vector_size": 16,
        "sample": 0.0,
        "alpha": 0.2,
        "negative_sharing": "tile",
    },
    "CBOW, tile, long steps held back": {
        "vector_size": 16,
        "sg": False,
        "sample": 0.0,
        "alpha": 0.13,
        "negative_sharing": "tile",
    },
    "CBOW, tile, sum, wide fixed windows": {
        "vector_size": 33,
        "sg": False,
        "cbow_mean": False,
        "window": 17,
        "shrink_windows": False,
        "negative": 7,
        "sample": 0.0,
        "alpha": 0.01,
        "max_sentence_length": 23,
        "negative_sharing": "tile",
    },
    "tile, deterministic": {
        "vector_size": 20,
        "epochs": 2,
        "alpha": 0.01,
        "negative_sharing": "tile",
        "deterministic": True,
    },
    "tile, deterministic, wide fixed windows": {
        "vector_size": 17,
        "window": 20,
        "negative": 1,
        "shrink_windows": False,
        "alpha": 0.004,
        "negative_sharing": "tile",
        "deterministic": True,
    },
    "CBOW, tile, deterministic": {
        "vector_size": 20,
        "sg": False,
        "epochs": 2,
        "alpha": 0.01,
        "negative_sharing": "tile",
        "deterministic": True,
    },
    "CBOW, tile, sum, deterministic": {
        "vector_size": 33,
        "sg": False,
        "cbow_mean": False,
        "window": 8,
        "negative": 3,
        "shrink_windows": False,
        "alpha": 0.006,
        "negative_sharing": "tile",
        "deterministic": True,
    },
    "another seed and exponent": {"vector_size": 100, "seed": 2**63 + 11, "ns_exponent": -0.5, "min_alpha": 0.02},
}


@cache
def reference(case: str) -> Reference:
    ids, offsets, counts = small_real_text()
    kind = TileReference if CASES[case].get("negative_sharing") == "tile" else Reference
    return kind(ids, offsets, counts, **CASES[case]).train()


@pytest.mark.parametrize("isa", TRAINING_ISAS)
@pytest.mark.parametrize("case", list(CASES)[:: 3 if _core.sanitizers else 1])
def test_a_whole_run_equals_the_reference(case: str, isa: str) -> None:
    want = reference(case)
    vectors, output_vectors, losses = train(isa, CASES[case])
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert largest_row_error(vectors, want.input) < tolerance(case, isa)
    assert largest_row_error(output_vectors, want.output) < tolerance(case, isa)
    np.testing.assert_allclose(losses, want.losses, rtol=tolerance(case, isa) / 10)


@pytest.mark.parametrize("isa", TRAINING_ISAS)
@pytest.mark.parametrize(
    "case", ["skip-gram, window", "skip-gram, pair", "skip-gram, tile", "CBOW, mean", "CBOW, tile"]
)
def test_the_loss_tells_of_what_is_no_number(case: str, isa: str) -> None:
    """A maximum of NaN and 0 may be 0, and so was the loss of vectors that had come to NaN."""
    _, _, counts = small_real_text()
    initial = np.full((len(counts), CASES[case]["vector_size"]), np.nan, dtype=np.float32)
    _, _, losses = train(isa, {**CASES[case], "epochs": 1}, initial)
    assert np.isnan(losses).all()


def test_the_reference_has_learned_something() -> None:
    """Guards the comparison above: an untrained model would agree with an untrained reference."""
    run = reference("skip-gram, window")
    assert run.losses[-1] < 0.97 * run.losses[0]
    assert np.linalg.norm(run.output) > 0.5


@pytest.mark.threads
@pytest.mark.parametrize("workers", [2, 6])
@pytest.mark.parametrize("case", ["skip-gram, pair", "CBOW, sum"])
def test_several_workers_draw_from_parts_of_the_noise(case: str, workers: int) -> None:
    """A text of a single chunk is trained by one of them: with the part of the chunk's number plus the epoch's."""
    ids, offsets, counts = small_real_text()
    absent = np.random.default_rng(3).integers(1, 40, size=5000)  # words that are drawn, but not in the text
    given = {**CASES[case], "epochs": 3}
    all_counts, of_text = np.r_[counts, absent], np.r_[counts, 0 * absent]
    run = Reference(ids, offsets, all_counts, corpus_counts=of_text, noise_parts=2, **given).train()
    trainer = _core.Trainer(ids=ids, offsets=offsets, counts=all_counts, corpus_counts=of_text, **{**DEFAULTS, **given})
    epochs = [trainer.run_epoch(epoch, workers) for epoch in range(3)]
    vectors, output_vectors = trainer.take_vectors()
    assert largest_row_error(vectors, run.input) < TOLERANCE
    assert largest_row_error(output_vectors, run.output) < TOLERANCE
    losses = [epoch["loss"] / epoch["positive_count"] for epoch in epochs]
    np.testing.assert_allclose(losses, run.losses, rtol=TOLERANCE / 10)


@pytest.mark.threads
@pytest.mark.parametrize("sg", [True, False])
def test_several_workers_draw_the_whole_noise(sg: bool) -> None:
    """In a single epoch of many chunks, also of what no chunk's center is."""
    ids = np.random.default_rng(4).integers(0, 50, size=300_000, dtype=np.int32)
    counts = np.full(4096, 6, dtype=np.int64)
    given = {**DEFAULTS, "sg": sg, "negative_sharing": "pair", "vector_size": 8, "sample": 0.0}
    trainer = _core.Trainer(
        ids=ids,
        offsets=np.arange(0, len(ids) + 1, 1000),
        counts=counts,
        corpus_counts=np.bincount(ids, minlength=4096),
        **given,
    )
    trainer.run_epoch(0, 3)
    _, output_vectors = trainer.take_vectors()
    assert np.all(np.abs(output_vectors).max(axis=1) > 0)


@pytest.mark.threads
@pytest.mark.parametrize("words", [1, 2, 5, 6, 3001, 140_000])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_that_change_places_stay_their_words(words: int, precision: str) -> None:
    """For several workers rows lie in another order; a text of one chunk is trained by one of them all the same."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, words, size=4000, dtype=np.int32)
    counts = np.sort(rng.integers(1, 1000, size=words))[::-1].copy()
    initial = rng.standard_normal((words, 5), dtype=np.float32)

    def train_with(sg: bool, sharing: str, workers: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        given = {**DEFAULTS, "sg": sg, "negative_sharing": sharing, "vector_size": 5, "precision": precision}
        trainer = _core.Trainer(ids=ids, offsets=np.array([0, ids.size]), counts=counts, **{**given, "epochs": 3})
        trainer.continue_from(np.arange(words // 2, dtype=np.int32), initial[: words // 2], initial[: words // 2])
        seen = []
        for epoch, several in enumerate(workers):
            trainer.run_epoch(epoch, several)
            seen.append(trainer.copy_vectors())
        seen.append(trainer.take_vectors())
        return seen

    for sg, sharing in [(True, "tile"), (False, "tile"), (True, "window"), (False, "window")]:
        if sharing == "window" and precision != "float32":
            continue
        wanted = train_with(sg, sharing, (1, 1, 1))
        for workers in [(2, 2, 2), (2, 1, 3), (1, 2, 1)]:
            for ours, theirs in zip(train_with(sg, sharing, workers), wanted, strict=True):
                assert np.array_equal(ours[0], theirs[0])
                assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("isa", TRAINING_ISAS)
def test_one_worker_is_bit_reproducible(isa: str) -> None:
    first = train(isa, CASES["skip-gram, window"])
    second = train(isa, CASES["skip-gram, window"])
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    other_seed = train(isa, {**CASES["skip-gram, window"], "seed": 2})
    assert not np.array_equal(first[0], other_seed[0])
