"""The open layout on the disk: a directory of .npy files, a plain vocabulary and JSON.

Holds `save_store`, `load_store` and the rules by which a store is replaced. The layout::

    metadata.json       format, version, generation, shapes, the names and sizes of the files below, config, history
    vectors.npy         float32, shape (n_words, vector_size)
    output_vectors.npy  the same shape; only if there are any
    counts.npy          int64, shape (n_words,); only if there are any
    vocabulary.txt      UTF-8, one word a line, each line ended by one line feed

A checkpoint of a training is such a store too, with one more entry in metadata.json, "training" (see _checkpoint.py).

How a store is replaced: metadata.json is the only name that is ever overwritten, by a rename. A second save writes
its files as generation 2 (vectors.2.npy and so on) beside the live ones, renames the new metadata.json over the old,
and only then removes the old generation. At whatever moment the process is killed, metadata.json names files that are
whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastembed._atomic import TEMPORARY_NAME, atomic_write, check_parent, fsync_directory
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

__all__ = ["Rows", "StoreContent", "check_store_target", "is_store", "load_store", "read_training", "save_store"]

_FORMAT = "fastembed.WordVectors"
_FORMAT_VERSION = 1
_METADATA = "metadata.json"
# Present while the first save into a directory runs: it tells our half-written directory from someone else's.
_INCOMPLETE = ".fastembed-incomplete"
_DATA_NAME = re.compile(r"(?:vectors|output_vectors|counts|vocabulary)(?:\.[0-9]+)?\.(?:npy|txt)")
_ARRAYS = {"vectors": "float32", "output_vectors": "float32", "counts": "int64"}
_CHUNK_BYTES = 1 << 22
_LOAD_ATTEMPTS = 10


@dataclass(frozen=True)
class Rows:
    """A matrix that is given in blocks, so that it need not be copied whole to be written.

    Attributes
    ----------
    shape : tuple of (int, int)
    dtype : numpy.dtype
    read : callable
        ``read(begin, end)`` returns these rows, C-contiguous.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], npt.NDArray[Any]]

    def write(self, file: Any) -> None:
        """Write what numpy.save would write of the whole matrix."""
        description = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, description)
        n_rows = max(1, _CHUNK_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        for begin in range(0, self.shape[0], n_rows):
            file.write(self.read(begin, min(begin + n_rows, self.shape[0])).reshape(-1).view(np.uint8).data)


@dataclass(frozen=True)
class StoreContent:
    """What a store holds, for those who write it without making a `WordVectors`."""

    vectors: npt.NDArray[Any] | Rows
    index_to_key: list[str]
    counts: npt.NDArray[Any] | None
    output_vectors: npt.NDArray[Any] | Rows | None
    history: list[dict[str, Any]]
    config: dict[str, Any]


class _ChecksumWriter:
    """A file that counts its bytes and their CRC-32 as they pass."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0
        self.crc32 = 0

    def write(self, data: Any) -> int:
        self.crc32 = zlib.crc32(data, self.crc32)
        written = self._file.write(data)
        self.bytes += written
        return written


def _json_scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"not JSON serialisable: {type(value).__name__}")


def _json_text(value: Any, what: str) -> str:
    try:
        return json.dumps(value, default=_json_scalar, indent=2)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} cannot be stored as JSON: {error}") from error


def _vocabulary_bytes(words: list[str]) -> tuple[bytes, str]:
    """Return the vocabulary file's content and its encoding, "lines" or "json-lines".

    A word may hold any character but the line feed in the plain form; if one holds a line feed, every line is a JSON
    string. Lone surrogates, which are no Unicode text but legal in a str, pass as their three-byte form.
    """
    encoding = "lines"
    lines = words
    if any("\n" in word for word in words):
        encoding = "json-lines"
        lines = [json.dumps(word, ensure_ascii=False) for word in words]
    text = "\n".join(lines) + "\n" if lines else ""
    return text.encode("utf-8", "surrogatepass"), encoding


def _parse_vocabulary(data: bytes, encoding: str, name: str) -> list[str]:
    if data and not data.endswith(b"\n"):
        raise ValueError(f"{name}: the last line is cut short")
    try:
        # str.splitlines would also split at U+2028, U+0085, \r and others, which may be part of a word.
        lines = data.decode("utf-8", "surrogatepass").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not UTF-8 at byte {error.start}") from error
    if encoding == "lines":
        return lines
    if encoding == "json-lines":
        return [json.loads(line) for line in lines]
    raise ValueError(f"{name}: unknown vocabulary encoding {encoding!r}, wanted 'lines' or 'json-lines'")


@contextlib.contextmanager
def _directory_lock(directory: str) -> Iterator[None]:
    """Keep other savers out of `directory`, in this process and in others; released by the kernel if we are killed."""
    try:
        import fcntl
    except ImportError:  # Windows: concurrent saves to one path are not supported there
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        # Some network file systems cannot lock; saving from one process at a time is safe there as well.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_metadata(directory: str) -> dict[str, Any]:
    name = os.path.join(directory, _METADATA)
    with open(name, "rb") as file:
        data = file.read()
    try:
        metadata = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name}: not valid JSON: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        raise ValueError(f"{name}: not the metadata of a fastembed store (wanted format {_FORMAT!r})")
    version = metadata.get("format_version")
    if version != _FORMAT_VERSION:
        raise ValueError(f"{name}: format version {version!r}; this version of fastembed reads {_FORMAT_VERSION}")
    try:
        names = [record["name"] for record in metadata["files"].values()]
        numbers = [metadata[key] for key in ("generation", "n_words", "vector_size")]
        numbers += [record[key] for record in metadata["files"].values() for key in ("bytes", "crc32")]
    except KeyError as error:
        raise ValueError(f"{name}: the entry {error} is missing") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name}: the entry 'files' is malformed") from error
    # Names are checked so that no metadata can make us read or keep files outside the directory.
    if not all(isinstance(entry, str) and _DATA_NAME.fullmatch(entry) for entry in names):
        raise ValueError(f"{name}: names a file that is none of a store's: {names}")
    if not all(isinstance(entry, int) and entry >= 0 for entry in numbers):
        raise ValueError(f"{name}: holds something else than a size where a size was wanted")
    return metadata


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a directory with a store's metadata in it (which `load_store` may still find damaged)."""
    return os.path.isfile(os.path.join(path, _METADATA))


def read_training(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What the store at `path` says of an unfinished or finished training; None if it is no checkpoint, or no store."""
    if not is_store(path):
        return None
    training = _read_metadata(os.fspath(path)).get("training")
    if training is not None and not isinstance(training, dict):
        raise ValueError(f"{os.path.join(path, _METADATA)}: the entry 'training' is malformed")
    return training


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
    FileNotFoundError, NotADirectoryError, PermissionError
        See `fastembed._atomic.check_parent`.
    ValueError
        `path` holds a store of a format version that this version of fastembed does not know.
    """
    directory = os.fspath(path)
    if not os.path.lexists(directory):
        check_parent(directory)
        return
    if not os.path.isdir(directory):
        raise FileExistsError(f"cannot save to {directory!r}: it exists and is not a directory")
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"cannot save to {directory!r}: the directory is not writable")
    if is_store(directory):
        is_checkpoint = read_training(directory) is not None
        if is_checkpoint != checkpoint:
            held = "the checkpoint of a training" if is_checkpoint else "saved vectors"
            raise FileExistsError(f"cannot save to {directory!r}: it holds {held}; remove it or choose another path")
        return
    entries = os.listdir(directory)
    if entries and _INCOMPLETE not in entries:
        raise FileExistsError(f"cannot save to {directory!r}: the directory is neither empty nor a fastembed store")


def _file_names(metadata: dict[str, Any] | None) -> set[str]:
    return {record["name"] for record in metadata["files"].values()} if metadata else set()


def _remove_all_but(directory: str, keep: set[str]) -> None:
    """Remove what earlier generations and interrupted saves left; files that are not ours stay."""
    for name in os.listdir(directory):
        ours = _DATA_NAME.fullmatch(name) or TEMPORARY_NAME.fullmatch(name)
        if ours and name not in keep:
            # Windows refuses while a reader maps the file; the next save tries again.
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, name))


def _write_data(directory: str, name: str, content: npt.NDArray[Any] | Rows | bytes) -> dict[str, Any]:
    """Write one file that no metadata names yet, flush it to the disk, and return its record."""
    record: dict[str, Any] = {"name": name}
    with open(os.path.join(directory, name), "wb") as file:
        writer = _ChecksumWriter(file)
        if isinstance(content, bytes):
            writer.write(content)
        else:
            if isinstance(content, Rows):
                content.write(writer)
            else:
                np.lib.format.write_array(writer, content, allow_pickle=False)
            record |= {"dtype": content.dtype.name, "shape": list(content.shape)}
        file.flush()
        os.fsync(file.fileno())
    return record | {"bytes": writer.bytes, "crc32": writer.crc32}


def _write_generation(
    directory: str, vectors: WordVectors | StoreContent, generation: int, described: dict[str, str]
) -> None:
    suffix = "" if generation == 1 else f".{generation}"
    files: dict[str, dict[str, Any]] = {}
    for key in _ARRAYS:
        array = getattr(vectors, key)
        if array is not None:
            content = array if isinstance(array, Rows) else np.asarray(array)
            files[key] = _write_data(directory, f"{key}{suffix}.npy", content)
    vocabulary, encoding = _vocabulary_bytes(vectors.index_to_key)
    files["vocabulary"] = _write_data(directory, f"vocabulary{suffix}.txt", vocabulary) | {"encoding": encoding}
    fsync_directory(directory)  # the new names must be on the disk before the metadata that points to them
    metadata = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "generation": generation,
        "n_words": len(vectors.index_to_key),
        "vector_size": vectors.vectors.shape[1],
        "files": files,
    }
    metadata |= {name: json.loads(text) for name, text in described.items()}
    with atomic_write(os.path.join(directory, _METADATA)) as file:
        file.write(json.dumps(metadata, indent=2).encode("ascii") + b"\n")


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
    Killed at any moment, it leaves the old content whole or the new content whole; what an interrupted save left is
    removed by the next. Readers that have mapped the old files keep them. While saving, the directory holds both
    generations. Two processes that save to one path take turns (where the file system can lock).
    """
    directory = os.fspath(path)
    described = {
        "config": _json_text(vectors.config, "config"),
        "history": _json_text(vectors.history, "history"),
    }
    if training is not None:
        described["training"] = _json_text(training, "training")
    check_store_target(directory, checkpoint=training is not None)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
    with _directory_lock(directory):
        old = _read_metadata(directory) if is_store(directory) else None
        incomplete = os.path.join(directory, _INCOMPLETE)
        if old is None:
            with open(incomplete, "wb") as file:
                file.write(b"The first save into this directory has not finished. The next save cleans up.\n")
        _remove_all_but(directory, _file_names(old))
        try:
            _write_generation(directory, vectors, old["generation"] + 1 if old else 1, described)
        finally:  # on an error (a full disk) the new files go, on success the old ones
            # What is live is read from the disk: Ctrl-C may have come on either side of the rename.
            _remove_all_but(directory, _file_names(_read_metadata(directory) if is_store(directory) else None))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(incomplete)
    if old is None:
        fsync_directory(os.path.dirname(os.path.realpath(directory)))


def _crc32_of(name: str) -> int:
    crc32 = 0
    with open(name, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _check_size(name: str, record: dict[str, Any]) -> None:
    size = os.stat(name).st_size
    if size != record["bytes"]:
        raise ValueError(f"{name}: {size} bytes, but metadata.json says {record['bytes']}: cut short or mixed")


def _check_crc32(name: str, crc32: int, record: dict[str, Any]) -> None:
    if crc32 != record["crc32"]:
        raise ValueError(f"{name}: CRC-32 {crc32:08x}, but metadata.json says {record['crc32']:08x}: damaged or mixed")


def _load_array(
    directory: str, key: str, metadata: dict[str, Any], mmap: bool, verify: bool
) -> npt.NDArray[Any] | None:
    record = metadata["files"].get(key)
    if record is None:
        return None
    name = os.path.join(directory, record["name"])
    _check_size(name, record)
    mapped = mmap and key != "counts"
    array: npt.NDArray[Any] = np.load(name, mmap_mode="r" if mapped else None, allow_pickle=False)
    n_words, vector_size = metadata["n_words"], metadata["vector_size"]
    wanted = (n_words,) if key == "counts" else (n_words, vector_size)
    if array.shape != wanted or array.dtype != _ARRAYS[key]:
        raise ValueError(f"{name}: {_ARRAYS[key]} of shape {wanted} was wanted, got {array.dtype} of {array.shape}")
    if verify or not mapped:
        _check_crc32(name, _crc32_of(name), record)
    return array


def _load_generation(directory: str, metadata: dict[str, Any], mmap: bool, verify: bool) -> WordVectors:
    record = metadata["files"]["vocabulary"]
    arrays = {key: _load_array(directory, key, metadata, mmap, verify) for key in _ARRAYS}
    name = os.path.join(directory, record["name"])
    _check_size(name, record)
    with open(name, "rb") as file:
        data = file.read()
    _check_crc32(name, zlib.crc32(data), record)
    words = _parse_vocabulary(data, record["encoding"], name)
    if len(words) != metadata["n_words"]:
        raise ValueError(f"{name}: {len(words)} words, but metadata.json says {metadata['n_words']}")
    vectors = arrays.pop("vectors")
    if vectors is None:
        raise ValueError(f"{os.path.join(directory, _METADATA)}: names no vectors")
    return WordVectors(vectors, words, history=metadata["history"], config=metadata["config"], **arrays)


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
    directory = os.fspath(path)
    if not is_store(directory):
        if os.path.exists(os.path.join(directory, _INCOMPLETE)):
            raise FileNotFoundError(
                f"{directory!r}: the first save into this directory has not finished, or was interrupted"
            )
        if os.path.exists(directory):
            raise ValueError(f"{directory!r} is not a fastembed store: it has no {_METADATA} in it")
        raise FileNotFoundError(f"there is no fastembed store at {directory!r}: no such directory")
    for _ in range(_LOAD_ATTEMPTS):
        metadata = _read_metadata(directory)
        try:
            return _load_generation(directory, metadata, mmap, verify)
        except FileNotFoundError as error:
            # Another process replaced the store between our two looks: start again from its metadata.
            if _read_metadata(directory).get("generation") == metadata["generation"]:
                raise ValueError(f"{error.filename}: named by metadata.json but missing") from error
        except KeyError as error:
            raise ValueError(f"{os.path.join(directory, _METADATA)}: the entry {error} is missing") from error
    raise OSError(f"{directory!r} is being replaced faster than it can be read")
