"""Stores: directories of .npy files, plain text and JSON that are replaced in one step.

Holds how a store is written, checked, read and replaced, whatever is in it; _storage.py (words and vectors) and
_index_storage.py (an index) say what is. How a store is replaced: metadata.json is the only name that is ever
overwritten, by a rename. A second save writes its files as generation 2 (vectors.2.npy and so on) beside the live ones,
renames the new metadata.json over the old, and only then removes the old generation. At whatever moment the process is
killed, metadata.json names files that are whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from fastembed._atomic import TEMPORARY_NAME, atomic_write, check_parent, fsync_directory, naming_full_disk
from fastembed._validate import check_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

__all__ = [
    "METADATA",
    "Kind",
    "Rows",
    "Text",
    "check_target",
    "is_store",
    "json_text",
    "lines_bytes",
    "load_array",
    "load_lines",
    "load_whole",
    "parse_lines",
    "read_metadata",
    "write_store",
]

METADATA = "metadata.json"
_FORMAT_VERSION = 1
# What the formats hold, to say so when one is met in place of another.
_FORMATS = {"fastembed.WordVectors": "saved vectors", "fastembed.Index": "an index"}
# Present while the first save into a directory runs: it tells our half-written directory from someone else's.
_INCOMPLETE = ".fastembed-incomplete"
_CHUNK_BYTES = 1 << 22
_LOAD_ATTEMPTS = 10

_Loaded = TypeVar("_Loaded")


class Kind:
    """One format of stores.

    Parameters
    ----------
    format : str
        The entry "format" of its metadata.
    keys : tuple of str
        Its files, without generation and suffix.
    sizes : tuple of str
        The entries of its metadata that are sizes.
    """

    def __init__(self, format: str, keys: tuple[str, ...], sizes: tuple[str, ...]) -> None:
        self.format = format
        self.sizes = sizes
        self.data_name = re.compile(rf"(?:{'|'.join(keys)})(?:\.[0-9]+)?\.(?:npy|txt)")


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
class Text:
    """Words, one a line."""

    words: list[str]


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


def json_text(value: Any, what: str) -> str:
    """Return `value` as JSON; what JSON cannot hold is a TypeError that names `what`."""
    try:
        return json.dumps(value, default=_json_scalar, indent=2)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} cannot be stored as JSON: {error}") from error


def lines_bytes(words: list[str]) -> tuple[bytes, str]:
    """Return the content of a file of words, one a line, and its encoding, "lines" or "json-lines".

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


def parse_lines(data: bytes, encoding: str, name: str) -> list[str]:
    """Return the words of a file that `lines_bytes` made; `name` is for the messages."""
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


def read_metadata(directory: str, kind: Kind) -> dict[str, Any]:
    """Return the metadata of the store in `directory`, checked to be of this kind and whole."""
    name = os.path.join(directory, METADATA)
    with open(name, "rb") as file:
        data = file.read()
    try:
        metadata = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name}: not valid JSON: {error}") from error
    found = metadata.get("format") if isinstance(metadata, dict) else None
    if found != kind.format:
        held = _FORMATS.get(found) if isinstance(found, str) else None
        told = f": it holds {held}, not {_FORMATS[kind.format]}" if held else ""
        raise ValueError(f"{name}: not the metadata of a fastembed store (wanted format {kind.format!r}){told}")
    version = metadata.get("format_version")
    if version != _FORMAT_VERSION:
        raise ValueError(f"{name}: format version {version!r}; this version of fastembed reads {_FORMAT_VERSION}")
    try:
        names = [record["name"] for record in metadata["files"].values()]
        numbers = [metadata[key] for key in ("generation", *kind.sizes)]
        numbers += [record[key] for record in metadata["files"].values() for key in ("bytes", "crc32")]
    except KeyError as error:
        raise ValueError(f"{name}: the entry {error} is missing") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name}: the entry 'files' is malformed") from error
    # Names are checked so that no metadata can make us read or keep files outside the directory.
    if not all(isinstance(entry, str) and kind.data_name.fullmatch(entry) for entry in names):
        raise ValueError(f"{name}: names a file that is none of a store's: {names}")
    if not all(isinstance(entry, int) and entry >= 0 for entry in numbers):
        raise ValueError(f"{name}: holds something else than a size where a size was wanted")
    checked: dict[str, Any] = metadata
    return checked


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a directory with a store's metadata in it (which may still be damaged, or of another kind).

    Raises
    ------
    PermissionError
        The directory does not let us look.
    """
    try:
        return stat.S_ISREG(os.stat(os.path.join(path, METADATA)).st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):  # as os.path.isfile
        return False


def _file_names(metadata: dict[str, Any] | None) -> set[str]:
    return {record["name"] for record in metadata["files"].values()} if metadata else set()


def _remove_all_but(directory: str, kind: Kind, keep: set[str]) -> None:
    """Remove what earlier generations and interrupted saves left; files that are not ours stay."""
    for name in os.listdir(directory):
        ours = kind.data_name.fullmatch(name) or TEMPORARY_NAME.fullmatch(name)
        if ours and name not in keep:
            # Windows refuses while a reader maps the file; the next save tries again.
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, name))


def _write_data(directory: str, name: str, content: npt.NDArray[Any] | Rows | Text) -> dict[str, Any]:
    """Write one file that no metadata names yet, flush it to the disk, and return its record."""
    record: dict[str, Any] = {"name": name}
    path = os.path.join(directory, name)
    with naming_full_disk(path), open(path, "wb") as file:
        writer = _ChecksumWriter(file)
        if isinstance(content, Text):
            data, record["encoding"] = lines_bytes(content.words)
            writer.write(data)
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
    directory: str,
    kind: Kind,
    generation: int,
    files: Mapping[str, npt.NDArray[Any] | Rows | Text],
    entries: Mapping[str, Any],
) -> None:
    suffix = "" if generation == 1 else f".{generation}"
    records = {}
    for key, content in files.items():
        name = f"{key}{suffix}.{'txt' if isinstance(content, Text) else 'npy'}"
        records[key] = _write_data(directory, name, content)
    fsync_directory(directory)  # the new names must be on the disk before the metadata that points to them
    metadata = {"format": kind.format, "format_version": _FORMAT_VERSION, "generation": generation}
    sizes = {name: entries[name] for name in kind.sizes}
    others = {name: entry for name, entry in entries.items() if name not in kind.sizes}
    with atomic_write(os.path.join(directory, METADATA)) as file:
        file.write(json.dumps(metadata | sizes | {"files": records} | others, indent=2).encode("ascii") + b"\n")


def check_target(path: str | os.PathLike[str], kind: Kind) -> dict[str, Any] | None:
    """Raise unless `path` may be written by `write_store`: absent in a writable parent, empty, or a store of this kind.

    Returns
    -------
    dict or None
        The metadata of the store that is there.

    Raises
    ------
    FileExistsError
        `path` is a file, or a directory that holds something else than a store.
    OSError
        See `fastembed._atomic.check_parent`.
    TypeError
        `path` is neither a str nor an os.PathLike of one.
    ValueError
        `path` is empty, or holds a store of another kind, or of a format version that this fastembed does not know.
    """
    directory = check_path("path", path)
    if not os.path.lexists(directory):
        check_parent(directory)
        return None
    if not os.path.isdir(directory):
        raise FileExistsError(f"cannot save to {directory!r}: it exists and is not a directory")
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"cannot save to {directory!r}: the directory is not writable")
    if is_store(directory):
        return read_metadata(directory, kind)
    entries = os.listdir(directory)
    if entries and _INCOMPLETE not in entries:
        raise FileExistsError(f"cannot save to {directory!r}: the directory is neither empty nor a fastembed store")
    return None


def write_store(
    path: str | os.PathLike[str],
    kind: Kind,
    files: Mapping[str, npt.NDArray[Any] | Rows | Text],
    entries: Mapping[str, Any],
) -> None:
    """Write a store to the directory `path`, made if absent; a store that is there is replaced in one step.

    Parameters
    ----------
    path : str or os.PathLike
        Checked by `check_target` before.
    kind : Kind
    files : dict of str to ndarray, Rows or Text
        By key.
    entries : dict
        The rest of metadata.json: the sizes of this kind, and whatever else is plain JSON.

    Notes
    -----
    Killed at any moment, it leaves the old content whole or the new content whole; what an interrupted save left is
    removed by the next. Readers that have mapped the old files keep them. While saving, the directory holds both
    generations. Two processes that save to one path take turns (where the file system can lock).
    """
    directory = os.fspath(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
    with _directory_lock(directory):
        old = read_metadata(directory, kind) if is_store(directory) else None
        incomplete = os.path.join(directory, _INCOMPLETE)
        if old is None:
            with open(incomplete, "wb") as file:
                file.write(b"The first save into this directory has not finished. The next save cleans up.\n")
        _remove_all_but(directory, kind, _file_names(old))
        try:
            _write_generation(directory, kind, old["generation"] + 1 if old else 1, files, entries)
        finally:  # on an error (a full disk) the new files go, on success the old ones
            # What is live is read from the disk: Ctrl-C may have come on either side of the rename.
            live = read_metadata(directory, kind) if is_store(directory) else None
            _remove_all_but(directory, kind, _file_names(live))
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


def load_array(
    directory: str, record: dict[str, Any], dtype: str, shape: tuple[int, ...], *, mmap: bool, verify: bool
) -> npt.NDArray[Any]:
    """Return an array of the store, checked; the checksum of a mapped one only if `verify`."""
    name = os.path.join(directory, record["name"])
    _check_size(name, record)
    try:
        # Mapped first: a header that is damaged may ask for any amount of memory.
        array: npt.NDArray[Any] = np.load(name, mmap_mode="r", allow_pickle=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of a header that is damaged: whatever parsing it raises
        raise ValueError(f"{name}: not an .npy file that can be read: {error}") from error
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name}: {dtype} of shape {shape} was wanted, got {array.dtype} of {array.shape}")
    if not mmap:
        array = np.load(name, allow_pickle=False)
    if verify or not mmap:
        _check_crc32(name, _crc32_of(name), record)
    return array


def load_lines(directory: str, record: dict[str, Any], count: int) -> list[str]:
    """Return the words of a text file of the store, checked."""
    name = os.path.join(directory, record["name"])
    _check_size(name, record)
    with open(name, "rb") as file:
        data = file.read()
    _check_crc32(name, zlib.crc32(data), record)
    words = parse_lines(data, record["encoding"], name)
    if len(words) != count:
        raise ValueError(f"{name}: {len(words)} words, but metadata.json says {count}")
    return words


def load_whole(path: str | os.PathLike[str], kind: Kind, load: Callable[[str, dict[str, Any]], _Loaded]) -> _Loaded:
    """Return ``load(directory, metadata)`` for the store at `path`, again if it was replaced meanwhile.

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`, or a first save into it was interrupted.
    PermissionError
        The directory or a file of it may not be read.
    TypeError
        `path` is neither a str nor an os.PathLike of one.
    ValueError
        It is no store of this kind, or a file of it is missing, cut short, or of another save; the message names the
        file.
    """
    directory = check_path("path", path)
    if not is_store(directory):
        if os.path.exists(os.path.join(directory, _INCOMPLETE)):
            raise FileNotFoundError(
                f"{directory!r}: the first save into this directory has not finished, or was interrupted"
            )
        if os.path.exists(directory):
            raise ValueError(f"{directory!r} is not a fastembed store: it has no {METADATA} in it")
        raise FileNotFoundError(f"there is no fastembed store at {directory!r}: no such directory")
    for _ in range(_LOAD_ATTEMPTS):
        metadata = read_metadata(directory, kind)
        try:
            return load(directory, metadata)
        except FileNotFoundError as error:
            # Another process replaced the store between our two looks: start again from its metadata.
            if read_metadata(directory, kind).get("generation") == metadata["generation"]:
                raise ValueError(f"{error.filename}: named by metadata.json but missing") from error
        except KeyError as error:
            raise ValueError(f"{os.path.join(directory, METADATA)}: the entry {error} is missing") from error
    raise OSError(f"{directory!r} is being replaced faster than it can be read")
