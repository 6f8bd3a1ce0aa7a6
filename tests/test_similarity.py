"""`similarity`, `paired_similarity` and `normalize`: values, shapes, `out`, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastembed
from fastembed import _core
from reference import search as reference
from search_cases import KINDS, METRICS, assert_same_bits, hard, normal
from tolerances import similarity_bound

SHAPES = [(1, 1, 1), (2, 3, 5), (7, 17, 16), (5, 33, 31), (18, 65, 100)]


def assert_within_bound(found: np.ndarray, a: np.ndarray, b: np.ndarray, metric: str) -> None:
    exact = reference.scores(a, b, metric).astype(np.float64)
    bound = similarity_bound(a, b, metric)
    with np.errstate(invalid="ignore"):
        close = np.abs(found - exact) <= bound
    assert (close | (found == exact) | ~np.isfinite(bound)).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_similarity_is_within_its_bound(kind: str, metric: str, every_isa: str) -> None:
    for n, m, dim in SHAPES:
        a, b = hard(kind, n, m, dim)
        for workers in (1, 2):
            found = fastembed.similarity(a, b, metric, workers=workers)
            assert found.dtype == np.float32 and found.shape == (n, m)
            assert_within_bound(found, a, b, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["near ties", "all scales", "zero rows", "normal"])
def test_many_rows_are_within_the_bound(kind: str, metric: str) -> None:
    """Several panels, groups of columns and chunks of rows, and results that begin within a cache line."""
    for n, m, dim in [(70, 1100, 9), (300, 70, 33)]:
        a, b = hard(kind, n, m, dim)
        assert_within_bound(fastembed.similarity(a, b, metric, workers=2), a, b, metric)
        for shift in (1, 4, 15):
            out = np.empty((n, m + 16 - m % 16 + 32), dtype=np.float32)[:, shift : m + shift]
            assert_within_bound(fastembed.similarity(a, b, metric, out), a, b, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_products_in_parts_are_within_the_bound(kind: str, metric: str, every_isa: str) -> None:
    """What matrix tiles are used for where there are any; elsewhere the same steps."""
    for n, m, dim in [(32, 32, 1), (33, 65, 100), (70, 1100, 9), (300, 70, 33)]:
        a, b = hard(kind, n, m, dim)
        out = np.full((n, m + 5), np.float32(7))
        _core.similarity(a, b, metric, out[:, :m], workers=2, split=True)
        assert_within_bound(out[:, :m], a, b, metric)
        assert (out[:, m:] == 7).all()


@pytest.mark.parametrize("metric", METRICS)
def test_products_in_parts_are_as_good_as_those_of_float32(metric: str) -> None:
    a, b = normal(200, 384), normal(300, 384, seed=1)
    exact = reference.scores(a, b, metric).astype(np.float64)
    errors = {}
    for split in (False, True):
        out = np.empty((200, 300), dtype=np.float32)
        _core.similarity(a, b, metric, out, split=split)
        errors[split] = np.sqrt(np.mean((out - exact) ** 2))
    assert 0 < errors[True] < 1.5 * errors[False]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("split", [False, True])
def test_large_results_have_the_same_bits_as_small_ones(split: bool, metric: str, every_isa: str) -> None:
    """Results of 32 MB and more go past the caches, where `out` begins and its rows begin with a cache line."""
    a, b = normal(1_200, 9), normal(7_041, 9)
    large = np.full((1_200, 7_056), 7.0, np.float32)
    first = (-large.ctypes.data // 4) % 16
    found = large[:, first : first + 7_040]
    _core.similarity(a, b[:7_040], metric, found, 2, split=split)
    small = np.empty((1_200, 300), np.float32)
    for begin in (0, 3_000, 6_740):
        _core.similarity(a, b[begin : begin + 300], metric, small, 1, split=split)
        assert_same_bits(found[:, begin : begin + 300], small)
    assert (large[:, :first] == 7).all() and (large[:, first + 7_040 :] == 7).all()


def test_cosine_is_the_default() -> None:
    a, b = normal(3, 8), normal(4, 8, seed=1) * 5
    np.testing.assert_allclose(fastembed.similarity(a, b), reference.scores(a, b, "cosine"), atol=1e-6)
    assert_same_bits(fastembed.paired_similarity(a, b[:3]), reference.scores(a, b[:3], "cosine").diagonal().copy())
    assert fastembed.similarity(a, a).diagonal() == pytest.approx(np.ones(3), abs=1e-6)


def test_single_vectors_drop_their_axis() -> None:
    a, b = normal(3, 8), normal(4, 8, seed=1)
    table = fastembed.similarity(a, b, "dot")
    assert fastembed.similarity(a[0], b, "dot").shape == (4,)
    assert fastembed.similarity(a, b[0], "dot").shape == (3,)
    both = fastembed.similarity(a[0], b[0], "dot")
    assert isinstance(both, np.float32) and both == pytest.approx(table[0, 0], abs=1e-5)
    one = fastembed.paired_similarity(a[0], b[0], "dot")
    assert isinstance(one, np.float32) and one == reference.scores(a[:1], b[:1], "dot")[0, 0]
    assert fastembed.normalize(a[0]).shape == (8,)


def test_zero_vectors_have_cosine_zero() -> None:
    a = np.zeros((2, 5), dtype=np.float32)
    assert not fastembed.similarity(a, normal(3, 5)).any()
    assert not fastembed.paired_similarity(a, a).any()


def test_no_rows() -> None:
    none = np.empty((0, 5), dtype=np.float32)
    assert fastembed.similarity(none, normal(3, 5)).shape == (0, 3)
    assert fastembed.similarity(normal(3, 5), none).shape == (3, 0)
    assert fastembed.similarity(normal(1, 5)[0], none).shape == (0,)
    assert fastembed.paired_similarity(none, none).shape == (0,)
    assert fastembed.normalize(none).shape == (0, 5)


def test_what_is_not_finite_propagates() -> None:
    a = np.asarray([[np.nan, 1], [np.inf, 1], [1, 1]], dtype=np.float32)
    b = np.asarray([[1, 1], [2, 0]], dtype=np.float32)
    found = fastembed.similarity(a, b, "dot")
    assert np.isnan(found[0]).all() and (found[1] == np.inf).all() and np.isfinite(found[2]).all()
    assert np.isnan(fastembed.paired_similarity(a[:2], b)).tolist() == [True, True]


# out

LAYOUTS: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
    "fresh": lambda shape: np.empty(shape, dtype=np.float32),
    "fortran": lambda shape: np.empty(shape, dtype=np.float32, order="F"),
    "wide rows": lambda shape: np.empty((*shape[:-1], 2 * shape[-1]), dtype=np.float32)[..., : shape[-1]],
    "every other": lambda shape: np.empty(tuple(2 * size for size in shape), dtype=np.float32)[
        tuple(slice(None, None, 2) for _ in shape)
    ],
    "backwards": lambda shape: np.empty(shape, dtype=np.float32)[tuple(slice(None, None, -1) for _ in shape)],
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_out_of_any_layout(layout: str) -> None:
    a, b = normal(6, 9), normal(5, 9, seed=1)
    for call, shape in [
        (lambda out: fastembed.similarity(a, b, "l2", out), (6, 5)),
        (lambda out: fastembed.similarity(a[0], b, "l2", out), (5,)),
        (lambda out: fastembed.similarity(a, b[0], "l2", out), (6,)),
        (lambda out: fastembed.paired_similarity(a[:5], b, "dot", out), (5,)),
        (lambda out: fastembed.normalize(a, out), (6, 9)),
        (lambda out: fastembed.normalize(a[0], out), (9,)),
    ]:
        out = LAYOUTS[layout](shape)
        assert call(out) is out
        assert_same_bits(np.ascontiguousarray(out), call(None))


def test_out_of_no_axes() -> None:
    out = np.empty((), dtype=np.float32)
    assert fastembed.similarity([3, 4], [1, 0], "dot", out) is out and out == 3
    assert fastembed.paired_similarity([3, 4], [0, 1], "dot", out) is out and out == 4


def test_out_that_does_not_fit() -> None:
    a, b = normal(2, 4), normal(3, 4)
    for call in (lambda out: fastembed.similarity(a, b, out=out), lambda out: fastembed.normalize(normal(2, 3), out)):
        with pytest.raises(TypeError, match="out must be an ndarray, got list"):
            call([[0.0] * 3] * 2)
        with pytest.raises(TypeError, match="out must have dtype float32, got float64"):
            call(np.empty((2, 3)))
        with pytest.raises(ValueError, match=r"out must have shape \(2, 3\), got shape \(3, 2\)"):
            call(np.empty((3, 2), dtype=np.float32))
        locked = np.empty((2, 3), dtype=np.float32)
        locked.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writable"):
            call(locked)


def test_out_that_overlaps() -> None:
    memory = normal(8, 4)
    with pytest.raises(ValueError, match="out shares memory with b"):
        fastembed.similarity(normal(4, 4), memory[:4], out=memory[2:6])
    with pytest.raises(ValueError, match="out shares memory with a"):
        fastembed.paired_similarity(memory, memory, out=memory[:, 0])
    with pytest.raises(ValueError, match="out shares memory with x"):
        fastembed.normalize(memory[:4], out=memory[1:5])


def test_out_beside_an_input() -> None:
    memory = normal(6, 30)
    a, b = memory[:, :10], normal(20, 10, seed=1)
    expected = fastembed.similarity(a, b)
    fastembed.similarity(a, b, out=memory[:, 10:])
    assert_same_bits(np.ascontiguousarray(memory[:, 10:]), expected)


# normalize


@pytest.mark.parametrize("kind", KINDS)
def test_normalize_is_the_definition(kind: str, every_isa: str) -> None:
    for n, _, dim in SHAPES:
        x, _ = hard(kind, n, 2, dim)
        assert_same_bits(fastembed.normalize(x), reference.normalized(x))


def test_normalize_in_place() -> None:
    for x in (normal(7, 5), normal(7, 10)[:, ::2], np.asfortranarray(normal(7, 5)), normal(1, 5)[0], normal(9, 4)[::2]):
        expected = fastembed.normalize(x.copy())
        if x.strides[-1] == 4:
            assert fastembed.normalize(x, out=x) is x
            np.testing.assert_array_equal(x, expected)
        else:  # converted to a copy, which nothing overlaps
            fastembed.normalize(x, x)
            np.testing.assert_array_equal(x, expected)


# What is refused


def test_dimensions_that_differ() -> None:
    for call in (fastembed.similarity, fastembed.paired_similarity):
        with pytest.raises(ValueError, match="a has dim 3 but b has dim 4"):
            call(normal(2, 3), normal(2, 4))
    with pytest.raises(ValueError, match=r"a and b must have the same shape, got \(2, 3\) and \(4, 3\)"):
        fastembed.paired_similarity(normal(2, 3), normal(4, 3))
    with pytest.raises(ValueError, match=r"a and b must have the same shape, got \(1, 3\) and \(3,\)"):
        fastembed.paired_similarity(normal(1, 3), normal(1, 3)[0])


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="metric must be 'cosine', 'dot' or 'l2', got 'ip'"):
        fastembed.similarity([1], [1], "ip")
    with pytest.raises(TypeError, match="metric must be"):
        fastembed.paired_similarity([1], [1], None)
    with pytest.raises(ValueError, match="workers must be between 1"):
        fastembed.similarity([1], [1], workers=0)
