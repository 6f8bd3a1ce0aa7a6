"""Ranks of str ids: kept and extended from write to write, always those of a fresh sort."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from fastembed import Index, _index_ids
from fastembed._index_ids import id_ranks
from search_cases import normal


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ids each sort was given."""
    counts: list[int] = []

    def counting(rows: Iterable[int], **options: Any) -> list[int]:
        listed = builtins.sorted(rows, **options)
        counts.append(len(listed))
        return listed

    monkeypatch.setattr(_index_ids, "sorted", counting, raising=False)
    return counts


def shuffled(count: int, seed: int = 0) -> list[str]:
    return [f"n{number:06d}" for number in np.random.default_rng(seed).permutation(count)]


@pytest.mark.parametrize("seed", range(8))
def test_ranks_are_those_of_a_fresh_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = shuffled(3000, seed)
    first = [] if seed == 0 else sorted(names[:700]) if seed < 3 else names[:700]
    index = Index(normal(len(first), 2), ids=first)
    fresh = iter(names[700:])
    for _ in range(120):
        state = index._rows.state
        live = state.ids if state.positions is None else state.ids[state.positions]
        count = int(rng.integers(1, 9))
        some = rng.choice(live, min(count, len(live)), replace=False).tolist()
        change = rng.integers(5)
        if change == 0 or not some:
            index.add(normal(count, 2), ids=[next(fresh) for _ in range(count)])
        elif change == 1:
            index.remove(some)
        elif change == 2:
            index.remove(rng.choice(live, len(live) // 3, replace=False).tolist())
        elif change == 3:
            index.update(some, normal(len(some), 2))
        elif rng.random() < 0.2:
            index._rows.compacted()
        if rng.random() < 0.5:
            state = index._rows.state
            order = np.arange(len(state.ids)) if state.order is None else state.order
            np.testing.assert_array_equal(order, id_ranks(state.ids))


def test_writes_have_only_new_ids_sorted(ranked: list[int]) -> None:
    names = shuffled(2000)
    index, query = Index(normal(1900, 4), ids=names[:1900]), normal(1, 4)
    index.search(query)
    assert ranked == [1900]
    index.add(normal(2, 4), ids=names[1900:1902])
    index.search(query)
    index.update(names[:3], normal(3, 4))
    index.search(query)
    assert ranked == [1900, 2, 3]
    index.remove(names[10:20])
    index.search(query)
    index.remove(names[100:1500])  # most rows are dead now, and dropped
    index.search(query)
    assert len(index._rows.state.ids) == len(index) == 492
    assert ranked == [1900, 2, 3]
    in_order = Index(normal(100, 4), ids=sorted(names[:100]))
    in_order.update(names[:1], normal(1, 4))
    in_order.search(query)
    assert ranked == [1900, 2, 3, 1]
