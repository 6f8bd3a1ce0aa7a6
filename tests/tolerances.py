"""Derived error bounds for float32 results."""

from __future__ import annotations

import numpy as np

EPSILON = 2.0**-24  # unit roundoff of float32


def dot_bound(a: np.ndarray, b: np.ndarray) -> float:
    """Bound on the error of a float32 inner product in any order of summation: (depth + 1) * eps * sum |a_i b_i|.

    N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., equation 3.5, to first order. The products below
    the normal range add at most one denormal spacing each.
    """
    depth = len(a)
    products = np.abs(a.astype(np.float64) * b.astype(np.float64))
    return float((depth + 1) * EPSILON * 1.01 * products.sum() + depth * 2.0**-149)


def similarity_bound(a: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    """Bound on the error of `fastembed.similarity`, shape (n, m), for sums in float32 in any order.

    With g = (depth + 4) * eps: an inner product errs by at most g * sum |a_i b_i| (see `dot_bound`), the squared
    distance computed as |a|^2 + |b|^2 - 2 a.b by g * (|a| + |b|)^2, and the cosine by 2 g, as sum |a_i b_i| <= |a| |b|.
    """
    wide_a, wide_b = np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64))
    norm_a, norm_b = np.sqrt((wide_a**2).sum(axis=1))[:, None], np.sqrt((wide_b**2).sum(axis=1))[None]
    factor = (a.shape[1] + 4) * EPSILON * 1.01
    floor = a.shape[1] * 2.0**-149
    if metric == "dot":
        return factor * (wide_a @ wide_b.T) + floor
    if metric == "l2":
        return factor * (norm_a + norm_b) ** 2 + floor
    return np.broadcast_to(2 * factor, (len(a), len(b)))
