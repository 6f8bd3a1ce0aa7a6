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
