"""What an index codes, in float64: rows without their center, turned. docs/exact-search.md."""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1


def _mixed(place: int) -> int:
    """SplitMix64 of a place (Steele, Lea, Flood, 2014)."""
    z = (place + 1) * 0x9E3779B97F4A7C15 & _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def turned(rows: np.ndarray) -> np.ndarray:
    """Random signs and the Hadamard matrix of the first 2^p elements, then of the last 2^p if there are others."""
    out = rows.astype(np.float64).copy()
    dim = out.shape[1]
    window = 1 << (dim.bit_length() - 1)
    matrix = np.ones((1, 1))
    while len(matrix) < window:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    for turn, first in enumerate((0,) if window == dim else (0, dim - window)):
        signs = np.array([-1.0 if _mixed(turn * window + i) & 1 else 1.0 for i in range(window)])
        part = slice(first, first + window)
        out[:, part] = (out[:, part] * signs) @ matrix.T / np.sqrt(window)
    return out


def quarters(stored: np.ndarray, n_rows: int, dim: int) -> np.ndarray:
    """The two bits, 0 .. 3, of every element: of 64, the first 16 are in the lowest bits of 16 bytes."""
    blocks = stored.reshape(n_rows, -1, 16)
    parts = np.stack([blocks >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    return parts.reshape(n_rows, -1)[:, :dim].astype(np.int64)


def nibbles(stored: np.ndarray, n_rows: int, dim: int) -> np.ndarray:
    """The half bytes, 0 .. 15, of every element: of 64, the first 32 are in the lower halves of 32 bytes."""
    blocks = stored.reshape(n_rows, -1, 32)
    halves = np.stack([blocks & 15, blocks >> 4], axis=2)
    return halves.reshape(n_rows, -1)[:, :dim].astype(np.int64)
