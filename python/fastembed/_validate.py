"""Checks of what arguments mean. Every message names the argument, what came and what was wanted."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence


def check_int(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int within [low, high]; bools and floats are a TypeError."""
    if type(value).__name__ in ("bool", "bool_"):  # NumPy's has an __index__ too
        raise TypeError(f"{name} must be an int, got bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None
    if high is None and number < low:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    if high is not None and not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, got {number}")
    return number


def check_float(name: str, value: object, low: float = -math.inf, *, above: float | None = None) -> float:
    """Return `value` as a finite float that is at least `low` and greater than `above`."""
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if above is not None and number <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {number:g}")
    if number < low:
        raise ValueError(f"{name} must be at least {low:g}, got {number:g}")
    return number


def check_bool(name: str, value: object) -> bool:
    """Return `value` as a bool; 0 and 1 are accepted, as gensim's switches are ints."""
    if value in (0, 1) and not isinstance(value, float):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value`, which must be one of `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    wanted = ", ".join(repr(choice) for choice in choices[:-1]) + f" or {choices[-1]!r}"
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{name} must be {wanted}, got {value!r}")
