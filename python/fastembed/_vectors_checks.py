"""What `WordVectors` demands of its parts.

Holds the checks and conversions of matrix, counts and words on construction, each with a message that names the
argument.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._validate import check_unmasked

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

__all__ = ["check_counts", "check_matrix", "check_words"]

_MAX_COUNT = 2**63 - 1


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view()
    view.flags.writeable = False
    return view


def check_matrix(matrix: npt.ArrayLike, argument: str) -> npt.NDArray[np.float32]:
    """Return `matrix` as a read-only C-contiguous float32 view; a copy only if its dtype or layout asks for one."""
    array = matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix)
    check_unmasked(argument, array)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"{argument} must hold floating-point numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{argument} must have shape (n_words, vector_size), got {array.ndim}-D shape {array.shape}")
    if array.shape[1] == 0:
        raise ValueError(f"{argument} must have at least one column, got shape {array.shape}")
    if array.dtype != np.float32:
        from fastembed._arrays import to_float32  # which knows WordVectors

        array = to_float32(argument, array)
    elif not array.flags.c_contiguous or not array.flags.aligned:
        array = np.require(array, dtype=np.float32, requirements=["C", "A"])
    return _read_only(array)


def check_counts(counts: npt.ArrayLike | None, n_words: int) -> npt.NDArray[np.int64] | None:
    """Return `counts` as a read-only int64 view, or None for None."""
    if counts is None:
        return None
    array = counts if isinstance(counts, np.ndarray) else np.asarray(counts)
    check_unmasked("counts", array)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"counts must hold integers, got dtype {array.dtype}")
    if array.shape != (n_words,):
        raise ValueError(f"counts must have shape ({n_words},), one count a word, got shape {array.shape}")
    if array.size and int(array.min()) < 0:
        position = int(np.argmax(array < 0))
        raise ValueError(f"counts must not be negative, got {int(array[position])} at index {position}")
    if array.size and int(array.max()) > _MAX_COUNT:
        position = int(np.argmax(array))
        raise ValueError(f"counts must be less than 2**63, got {int(array[position])} at index {position}")
    if array.dtype != np.int64 or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype=np.int64)
    return _read_only(array)


def check_words(index_to_key: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """Return the words as a list and the index of each; repetition is an error that names the word."""
    if isinstance(index_to_key, (str, bytes)):
        raise TypeError(f"index_to_key must be a sequence of words, got one {type(index_to_key).__name__}")
    if isinstance(index_to_key, Set):
        kind = type(index_to_key).__name__
        raise TypeError(f"index_to_key must be in the order of the rows, got a {kind}, which has none")
    words = list(index_to_key)
    if words and set(map(type, words)) != {str}:
        for position, word in enumerate(words):
            if not isinstance(word, str):
                raise TypeError(f"index_to_key[{position}] must be a str, got {type(word).__name__}")
        words = [str(word) for word in words]  # numpy.str_ and other subclasses
    key_to_index = {word: index for index, word in enumerate(words)}
    if len(key_to_index) != len(words):
        seen: set[str] = set()
        for position, word in enumerate(words):
            if word in seen:
                first = words.index(word)
                raise ValueError(f"index_to_key holds {word!r} twice, at positions {first} and {position}")
            seen.add(word)
    return words, key_to_index
