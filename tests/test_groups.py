"""`deduplicate` and `communities` against references that hold the whole matrix of scores."""

from __future__ import annotations

import numpy as np
import pytest

import fastembed
from fastembed import _groups
from reference import search as reference
from search_cases import METRICS, normal

THRESHOLDS = {"cosine": (0.5, 0.9, 0.99), "dot": (3.0, 8.0), "l2": (8.0, 2.0, 0.05)}


def clustered(n_rows: int, dim: int, seed: int) -> np.ndarray:
    """Clusters of many sizes, with duplicates and zero rows."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((8, dim))
    labels = np.minimum(rng.geometric(0.3, n_rows) - 1, 7)
    rows = centers[labels] + rng.standard_normal((n_rows, dim)) * rng.choice([0.02, 0.3, 1.0], (n_rows, 1))
    rows[rng.integers(0, n_rows, n_rows // 9)] = rows[rng.integers(0, n_rows, n_rows // 9)]
    rows[rng.integers(0, n_rows, 2)] = 0
    return rows.astype(np.float32)


@pytest.fixture(params=["as it is", "small tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The procedures' blocks at their size, and so small that every border is met."""
    if request.param == "small tiles":
        monkeypatch.setattr(_groups, "_TILE_QUERIES", 7)
        monkeypatch.setattr(_groups, "_COUNTED_QUERIES", 11)
        monkeypatch.setattr(_groups, "_HITS_HELD", 40)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("tiles")
def test_deduplicate(metric: str) -> None:
    for seed, threshold in enumerate(THRESHOLDS[metric]):
        x = clustered(90, 6, seed)
        kept, representatives = reference.deduplicated(x, threshold, metric)
        found = fastembed.deduplicate(x, threshold, metric=metric)
        assert isinstance(found, fastembed.Deduplication)
        assert found.kept.dtype == found.representatives.dtype == np.int64
        assert found.kept.tolist() == kept
        assert found.representatives.tolist() == representatives
        assert 1 < len(kept) < 90, "the case tests nothing"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("min_size", [1, 2, 5, 1000])
@pytest.mark.usefixtures("tiles")
def test_communities(metric: str, min_size: int) -> None:
    for seed, threshold in enumerate(THRESHOLDS[metric]):
        x = clustered(90, 6, seed)
        found = fastembed.communities(x, threshold, min_size, metric=metric)
        assert all(rows.dtype == np.int64 for rows in found)
        assert [rows.tolist() for rows in found] == reference.communities(x, threshold, min_size, metric)


def test_all_rows_equal() -> None:
    x = np.ones((3000, 4), dtype=np.float32)
    found = fastembed.deduplicate(x, 1.0)
    assert found.kept.tolist() == [0] and not found.representatives.any()
    (whole,) = fastembed.communities(x, 0.99)
    assert whole.tolist() == list(range(3000))


def test_defaults_are_those_of_sentence_transformers() -> None:
    centers = normal(3, 50)
    x = np.concatenate([centers[[0]].repeat(9, 0), centers[[1]].repeat(12, 0), centers[[2]].repeat(11, 0)])
    found = fastembed.communities(x + normal(32, 50, seed=1) * 0.01)
    assert [sorted(rows.tolist()) for rows in found] == [list(range(9, 21)), list(range(21, 32))]


def test_ids_of_an_index() -> None:
    x = np.asarray([[1, 0], [0, 1], [1, 0.01], [3, 0], [5, 5]], dtype=np.float32)
    index = fastembed.Index(x, ids=["a", "b", "c", "d", "e"])
    index.remove(["e"])
    found = fastembed.deduplicate(index, 0.99)
    assert found.kept.tolist() == ["a", "b"] and found.representatives.tolist() == ["a", "b", "a", "a"]
    (group,) = fastembed.communities(index, 0.99, 2)
    assert group.tolist() == ["a", "d", "c"]
    words = fastembed.WordVectors(x, ["a", "b", "c", "d", "e"])
    assert fastembed.deduplicate(words, 0.99).kept.tolist() == [0, 1, 4]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="min_size must be at least 1, got 0"):
        fastembed.communities(normal(3, 2), 0.5, 0)
    with pytest.raises(ValueError, match="threshold must be finite"):
        fastembed.deduplicate(normal(3, 2), float("nan"))
    with pytest.raises(ValueError, match="metric must be"):
        fastembed.deduplicate(normal(3, 2), 0.5, metric="ip")
