"""How the command line saves vectors: as they were asked for, or, where that fails, where they are not lost."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastembed.vectors import WordVectors

__all__ = ["FORMATS", "partial_path", "save_aside", "save_vectors"]

FORMATS = ("native", "word2vec-text", "word2vec-binary")


def save_vectors(vectors: WordVectors, output: str, chosen_format: str) -> None:
    """Write `vectors` to `output` in one of `FORMATS`."""
    if chosen_format == "native":
        vectors.save(output)
    else:
        vectors.save_word2vec_format(output, binary=chosen_format == "word2vec-binary")


def partial_path(output: str) -> str:
    """Where vectors that could not be saved to `output`, or are not trained to the end, are saved."""
    return output.rstrip(os.sep) + ".interrupted"


def _new_path() -> str:
    import tempfile

    return os.path.join(tempfile.mkdtemp(prefix="fastembed-"), "vectors")


def save_aside(vectors: WordVectors, output: str, chosen_format: str, why: str) -> None:
    """Save beside `output`, or where that cannot be done in a new temporary directory, and say where and `why`.

    A format that cannot hold these words gives way to the native one, which holds any.

    Raises
    ------
    OSError
        They cannot be saved anywhere.
    """
    for chosen in dict.fromkeys((chosen_format, "native")):
        try:
            path = partial_path(output)
            save_vectors(vectors, path, chosen)
            break
        except (OSError, ValueError):
            continue
    else:
        path = _new_path()
        save_vectors(vectors, path, "native")
    print(f"\nfastembed: {why} are in {path}", file=sys.stderr)
