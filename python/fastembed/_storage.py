"""The open layout of words and vectors on the disk: a directory of .npy files, a plain vocabulary and JSON.

Holds `save_store` and `load_store`; how any store is written, checked and replaced is in _store.py. The layout::

    metadata.json       format, version, generation, shapes, the names and sizes of the files below, config, history (a
                        loss that is NaN, of an epoch without pairs, is null)
    vectors.npy         float32, shape (n_words, vector_size)
    output_vectors.npy  the same shape; only if there are any
    counts.npy          int64, shape (n_words,); only if there are any
    vocabulary.txt      UTF-8, one word a line, each line ended by one line feed

A checkpoint of a training is such a store too, with one more entry in metadata.json, "training" (see _checkpoint.py).
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._store import (
    METADATA,
    Kind,
    Rows,
    Text,
    check_target,
    is_store,
    json_text,
    load_array,
    load_lines,
    load_whole,
    read_metadata,
    write_store,
)
from fastembed._validate import check_bool
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Rows", "StoreContent", "check_store_target", "is_store", "load_store", "read_training", "save_store"]

_ARRAYS = {"vectors": "float32", "output_vectors": "float32", "counts": "int64"}
_KIND = Kind("fastembed.WordVectors", (*_ARRAYS, "vocabulary"), ("n_words", "vector_size"))


@dataclass(frozen=True)
class StoreContent:
    """What a store holds, for those who write it without making a `WordVectors`."""

    vectors: npt.NDArray[Any] | Rows
    index_to_key: list[str]
    counts: npt.NDArray[Any] | None
    output_vectors: npt.NDArray[Any] | Rows | None
    history: list[dict[str, Any]]
    config: dict[str, Any]


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with None for a loss that is NaN: JSON has no NaN, though Python writes one."""
    loss = record.get("loss")
    return record | {"loss": None} if isinstance(loss, (float, np.floating)) and np.isnan(loss) else record


def _with_nan(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"loss": math.nan} if record.get("loss", 0.0) is None else record


def _training_of(metadata: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any] | None:
    training = metadata.get("training")
    if training is not None and not isinstance(training, dict):
        raise ValueError(f"{os.path.join(path, METADATA)}: the entry 'training' is malformed")
    return training


def read_training(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What the store at `path` says of an unfinished or finished training; None if it is no checkpoint, or no store."""
    return _training_of(read_metadata(os.fspath(path), _KIND), path) if is_store(path) else None


def check_store_target(path: str | os.PathLike[str], *, checkpoint: bool = False) -> None:
    """Raise unless `path` may be written by `save_store`: absent in a writable parent, empty, or a store of its kind.

    Parameters
    ----------
    path : str or os.PathLike
    checkpoint : bool, default False
        Whether a checkpoint is to be written. Vectors never replace a checkpoint, nor a checkpoint vectors.

    Raises
    ------
    FileExistsError
        `path` is a file, or a directory that holds something else than a store, or a store of the other kind.
    OSError
        See `fastembed._atomic.check_parent`.
    ValueError
        `path` is empty, or holds an index, or a store of a format version that this version of fastembed does not know.
    """
    metadata = check_target(path, _KIND)
    if metadata is None:
        return
    is_checkpoint = _training_of(metadata, path) is not None
    if is_checkpoint != checkpoint:
        held = "the checkpoint of a training" if is_checkpoint else "saved vectors"
        raise FileExistsError(f"cannot save to {os.fspath(path)!r}: it holds {held}; remove it or choose another path")


def save_store(
    path: str | os.PathLike[str], vectors: WordVectors | StoreContent, *, training: dict[str, Any] | None = None
) -> None:
    """Write `vectors` to the directory `path`, made if absent; a store that is there is replaced in one step.

    Parameters
    ----------
    path : str or os.PathLike
    vectors : WordVectors or StoreContent
    training : dict, optional
        Makes the store a checkpoint: where the training stands. JSON serialisable.

    Raises
    ------
    FileExistsError
        `path` exists and is neither an empty directory nor a store of the same kind (vectors or checkpoint). Nothing of
        it is touched.
    FileNotFoundError
        The parent directory does not exist.
    TypeError
        `config` or `history` holds what JSON cannot.

    Notes
    -----
    See `fastembed._store.write_store`.
    """
    described = {"config": vectors.config, "history": list(map(_without_nan, vectors.history))}
    if training is not None:
        described["training"] = training
    plain = {name: json.loads(json_text(value, name)) for name, value in described.items()}
    check_store_target(path, checkpoint=training is not None)
    files: dict[str, npt.NDArray[Any] | Rows | Text] = {}
    for key in _ARRAYS:
        array = getattr(vectors, key)
        if array is not None:
            files[key] = array if isinstance(array, Rows) else np.asarray(array)
    files["vocabulary"] = Text(vectors.index_to_key)
    sizes = {"n_words": len(vectors.index_to_key), "vector_size": vectors.vectors.shape[1]}
    write_store(path, _KIND, files, sizes | plain)


def load_store(path: str | os.PathLike[str], mmap: bool = True, *, verify: bool = False) -> WordVectors:
    """Read the directory `path` that `save_store` wrote.

    Parameters
    ----------
    path : str or os.PathLike
    mmap : bool, default True
        Map `vectors` and `output_vectors` read-only instead of reading them: loading then takes the time of the
        vocabulary, and processes share the memory. Their checksums are then verified only if asked for; sizes and
        shapes always.
    verify : bool, default False
        Verify the checksums of what is mapped too, which reads it once.

    Returns
    -------
    WordVectors

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`, or a first save into it was interrupted.
    ValueError
        It is no store, or a file of it is missing, cut short, or of another save; the message names the file.
    """
    mmap = check_bool("mmap", mmap)

    def load(directory: str, metadata: dict[str, Any]) -> WordVectors:
        files, n_words = metadata["files"], metadata["n_words"]
        vocabulary = files["vocabulary"]
        arrays = {}
        for key, dtype in _ARRAYS.items():
            if key in files:
                shape = (n_words,) if key == "counts" else (n_words, metadata["vector_size"])
                mapped = mmap and key != "counts"
                arrays[key] = load_array(directory, files[key], dtype, shape, mmap=mapped, verify=verify)
        words = load_lines(directory, vocabulary, n_words)
        if "vectors" not in arrays:
            raise ValueError(f"{os.path.join(directory, METADATA)}: names no vectors")
        vectors = arrays.pop("vectors")
        history = map(_with_nan, metadata["history"])
        return WordVectors(vectors, words, history=history, config=metadata["config"], **arrays)

    return load_whole(path, _KIND, load)
