"""Checks of what arguments mean. Every message names the argument, what came and what was wanted."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence

_INT64_MAX = (1 << 63) - 1


def _is_bool(value: object) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # NumPy's too, without importing it


def check_int(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int within [low, high], or from `low` up to int64; bools and floats are a TypeError."""
    if _is_bool(value):  # NumPy's has an __index__ too
        raise TypeError(f"{name} must be an int, got bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None
    if high is None and number < low:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    if high is None and number > _INT64_MAX:
        raise ValueError(f"{name} must be within int64, got {number}")
    if high is not None and not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, got {number}")
    return number


def check_float(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, above: float | None = None
) -> float:
    """Return `value` as a finite float within [low, high] and greater than `above`."""
    if _is_bool(value) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} must be within float64, got an int beyond it") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if above is not None and number <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {number:g}")
    if number < low:
        raise ValueError(f"{name} must be at least {low:g}, got {number:g}")
    if number > high:
        raise ValueError(f"{name} must be at most {high:g}, got {number:g}")
    return number


def check_bool(name: str, value: object) -> bool:
    """Return `value` as a bool; 0 and 1 are accepted, as gensim's switches are ints."""
    try:
        number = bool(value) if _is_bool(value) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(number)


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value`, which must be one of `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    wanted = ", ".join(repr(choice) for choice in choices[:-1]) + f" or {choices[-1]!r}"
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{name} must be {wanted}, got {value!r}")


def check_path(name: str, value: object) -> str:
    """Return the path `value` as a str; bytes are a TypeError, as they cannot be joined to names of files."""
    path = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path (str or os.PathLike), got {type(value).__name__}")
    return path


def check_unmasked(name: str, array: object) -> None:
    """Raise TypeError if `array`, an ndarray, is a masked one: what is computed from it would not know of the mask."""
    if hasattr(array, "mask"):  # naming numpy.ma would import it
        raise TypeError(f"{name} is a masked array, which has no values where it is masked: fill it first")
