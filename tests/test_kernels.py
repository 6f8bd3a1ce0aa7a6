"""Every kernel on every instruction set this machine has, against float64."""

from __future__ import annotations

import numpy as np
import pytest

import fastembed
from fastembed import _core
from tolerances import EPSILON, dot_bound

ISAS = fastembed.isa.available()
LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 300]
MISALIGNMENTS = [0, 4, 12]


def misaligned(values: np.ndarray, offset_bytes: int) -> np.ndarray:
    """The same float32 values at an address that is `offset_bytes` past a cache line."""
    raw = np.zeros(values.nbytes + 128, dtype=np.uint8)
    start = -raw.ctypes.data % 64 + offset_bytes
    view = raw[start : start + values.nbytes].view(np.float32)
    view[:] = values
    return view


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("offset_bytes", MISALIGNMENTS)
def test_dot_is_within_its_bound(isa: str, offset_bytes: int) -> None:
    rng = np.random.default_rng(7)
    for length in LENGTHS:
        for scale in (1.0, 1e-18, 1e18):
            a = misaligned((rng.standard_normal(length) * scale).astype(np.float32), offset_bytes)
            b = misaligned(rng.standard_normal(length).astype(np.float32), 4)
            exact = float(a.astype(np.float64) @ b.astype(np.float64))
            assert abs(_core.kernel_dot_f32(isa, a, b) - exact) <= dot_bound(a, b)


@pytest.mark.parametrize("isa", ISAS)
def test_dot_of_small_integers_is_exact(isa: str) -> None:
    rng = np.random.default_rng(8)
    for length in LENGTHS:
        a = rng.integers(-50, 50, length).astype(np.float32)
        b = rng.integers(-50, 50, length).astype(np.float32)
        assert _core.kernel_dot_f32(isa, a, b) == int(a.astype(np.int64) @ b.astype(np.int64))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("length", [n for n in LENGTHS if n])
def test_dot_propagates_nan_and_infinity(isa: str, length: int) -> None:
    ones = np.ones(length, dtype=np.float32)
    for position in {0, length // 2, length - 1}:
        bad = ones.copy()
        bad[position] = np.nan
        assert np.isnan(_core.kernel_dot_f32(isa, bad, ones))
        bad[position] = np.inf
        assert _core.kernel_dot_f32(isa, bad, ones) == np.inf
    assert _core.kernel_dot_f32(isa, np.zeros(length, dtype=np.float32), ones) == 0.0


@pytest.mark.parametrize("isa", ISAS)
def test_sigmoid_is_within_its_bound_everywhere(isa: str) -> None:
    x = np.concatenate([np.linspace(-80, 80, 40_001), np.linspace(-1, 1, 20_001), [0.0, 1e-30, -1e-30]])
    x = x.astype(np.float32)
    exact = 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
    for offset_bytes in MISALIGNMENTS:
        got = _core.kernel_sigmoid_f32(isa, misaligned(x, offset_bytes))
        relative = np.abs(got - exact) / exact
        assert relative.max() <= 4 * EPSILON
    extremes = np.array([-np.inf, np.inf, -1e30, 1e30], dtype=np.float32)
    np.testing.assert_allclose(_core.kernel_sigmoid_f32(isa, extremes), [0, 1, 0, 1], atol=1e-37)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("length", LENGTHS)
def test_sigmoid_of_any_length(isa: str, length: int) -> None:
    x = np.linspace(-5, 5, length).astype(np.float32)
    got = _core.kernel_sigmoid_f32(isa, x)
    assert got.shape == (length,)
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=4 * EPSILON)


def expected_step(
    inputs: np.ndarray, outputs: np.ndarray, contexts: list[int], targets: list[int], rate: float
) -> tuple[np.ndarray, np.ndarray, float]:
    inputs, outputs = inputs.astype(np.float64), outputs.astype(np.float64)
    new_inputs, new_outputs, loss = inputs.copy(), outputs.copy(), 0.0
    for c in contexts:
        for position, t in enumerate(targets):
            x = inputs[c] @ outputs[t]
            label = 1.0 if position == 0 else 0.0
            loss += np.logaddexp(0.0, -x if label else x)
            g = rate * (label - 1 / (1 + np.exp(-x)))
            new_inputs[c] += g * outputs[t]
            new_outputs[t] += g * inputs[c]
    return new_inputs, new_outputs, loss


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("depth", [16, 48, 112, 304])
@pytest.mark.parametrize("target_count", [1, 2, 3, 4, 5, 6, 7, 11, 13, 21])
def test_sgns_window(isa: str, depth: int, target_count: int) -> None:
    rng = np.random.default_rng(target_count)
    for context_count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 19):
        inputs = rng.standard_normal((12, depth)).astype(np.float32) * 0.3
        outputs = rng.standard_normal((12, depth)).astype(np.float32) * 0.3
        contexts = rng.integers(0, 12, context_count).tolist()  # with repeats
        targets = rng.integers(0, 12, target_count).tolist()
        want_inputs, want_outputs, want_loss = expected_step(inputs, outputs, contexts, targets, 0.05)
        got_loss = _core.kernel_sgns_window_f32(isa, inputs, outputs, contexts, targets, 0.05)
        tolerance = 40 * (depth + context_count + target_count) * EPSILON
        np.testing.assert_allclose(inputs, want_inputs, atol=tolerance)
        np.testing.assert_allclose(outputs, want_outputs, atol=tolerance)
        assert got_loss == pytest.approx(want_loss, rel=depth * 4 * EPSILON, abs=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("depth", [16, 112, 304])
@pytest.mark.parametrize("target_count", [1, 2, 6, 7, 16])
def test_cbow_window(isa: str, depth: int, target_count: int) -> None:
    rng = np.random.default_rng(target_count)
    for context_count in (1, 2, 5, 10, 23):
        inputs = rng.standard_normal((12, depth)).astype(np.float32) * 0.3
        outputs = rng.standard_normal((12, depth)).astype(np.float32) * 0.3
        contexts = rng.integers(0, 12, context_count).tolist()
        targets = rng.integers(0, 12, target_count).tolist()
        hidden = inputs[contexts].astype(np.float64).sum(axis=0) * 0.25
        before = outputs.astype(np.float64)
        want_outputs, error, want_loss = before.copy(), np.zeros(depth), 0.0
        for position, t in enumerate(targets):
            x = hidden @ before[t]
            label = 1.0 if position == 0 else 0.0
            want_loss += np.logaddexp(0.0, -x if label else x)
            g = 0.05 * (label - 1 / (1 + np.exp(-x)))
            error += g * before[t]
            want_outputs[t] += g * hidden
        want_inputs = inputs.astype(np.float64)
        for c in contexts:
            want_inputs[c] += 0.5 * error
        got_loss = _core.kernel_cbow_window_f32(isa, inputs, outputs, contexts, targets, 0.05, 0.25, 0.5)
        tolerance = 40 * (depth + context_count + target_count) * EPSILON
        np.testing.assert_allclose(inputs, want_inputs, atol=tolerance)
        np.testing.assert_allclose(outputs, want_outputs, atol=tolerance)
        assert got_loss == pytest.approx(want_loss, rel=depth * 4 * EPSILON, abs=1e-4)


@pytest.mark.parametrize("isa", ISAS)
def test_loss_of_confident_pairs_neither_overflows_nor_vanishes(isa: str) -> None:
    inputs = np.full((1, 16), 5.0, dtype=np.float32)
    outputs = np.full((1, 16), 5.0, dtype=np.float32)
    loss = _core.kernel_sgns_window_f32(isa, inputs, outputs, [0], [0, 0], 0.0)  # x = 400: positive 0, negative 400
    assert loss == pytest.approx(400.0)


@pytest.mark.parametrize("isa", ISAS)
def test_kernel_bindings_refuse_rows_outside(isa: str) -> None:
    rows = np.zeros((2, 16), dtype=np.float32)
    with pytest.raises(ValueError, match="contexts names a row outside"):
        _core.kernel_sgns_window_f32(isa, rows, rows.copy(), [2], [0], 0.1)
    with pytest.raises(ValueError, match="multiple of 16"):
        _core.kernel_sgns_window_f32(isa, np.zeros((2, 15), dtype=np.float32), rows, [0], [0], 0.1)
    with pytest.raises(TypeError):
        _core.kernel_sgns_window_f32(isa, rows.astype(np.float64), rows, [0], [0], 0.1)


@pytest.mark.parametrize("isa", ISAS)
def test_fma_peak_counts_its_operations(isa: str) -> None:
    assert _core.kernel_fma_peak_f32(isa, 1000) % (2 * 12 * 1000) == 0
    assert _core.kernel_fma_peak_f32(isa, 2000) == 2 * _core.kernel_fma_peak_f32(isa, 1000)
    assert _core.kernel_code_peak(isa, 1000) % (4 * 12 * 1000) == 0
    assert _core.kernel_code_peak(isa, 2000) == 2 * _core.kernel_code_peak(isa, 1000)
