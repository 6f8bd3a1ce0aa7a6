"""Where the text of a corpus comes from: paths to files, files to blocks of bytes, columns to batches."""

from __future__ import annotations

import bz2
import functools
import glob
import gzip
import importlib
import io
import lzma
import os
import queue
import re
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BLOCK_BYTES = 4 << 20
_OPENERS: dict[str, Callable[[str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lzma": lzma.open,
}
_COMPRESSED_INPUT_BYTES = 64 << 10
_SEPARATOR = f"[{re.escape(os.sep + (os.altsep or ''))}]"
_ANY_FOLDERS = re.compile(rf"(?:^|(?<={_SEPARATOR}))(?:\*\*(?:{_SEPARATOR}+|$))+")


@dataclass(frozen=True)
class Source:
    """A file of the corpus.

    Attributes
    ----------
    path : str
    compression : str
        One of the known suffixes, or "".
    mappable : bool
        A regular file that is not compressed.
    size : int
        Bytes on the disk.
    """

    path: str
    compression: str
    mappable: bool
    size: int


def _looks_like_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def exists(path: str) -> bool:
    """Like os.path.exists, and False for what cannot be a path at all."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        return not (len(path) > 255 or "\n" in path) and isinstance(error, PermissionError)
    return True


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _raise(error: OSError) -> None:
    raise error


def _files_under(directory: str) -> list[str]:
    files: list[str] = []
    for folder, subfolders, names in os.walk(directory, onerror=_raise):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(path):
                files.append(path)
    if not files:
        raise FileNotFoundError(f"the directory {directory!r} has no files in it (hidden files are skipped)")
    return sorted(files)


def _folders(root: str) -> Iterator[str]:
    """`root` and what is below it without hidden folders; links are followed, but to each folder once."""
    seen: set[str] = set()
    for folder, subfolders, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield folder


def _matches(pattern: str) -> Iterator[str]:
    """As glob.iglob, which would go around loops of links at ``**`` as often as the system lets it."""
    head, *tail = _ANY_FOLDERS.split(pattern, maxsplit=1)
    if not tail:
        yield from glob.iglob(pattern)
        return
    for root in glob.iglob(head) if head else [os.curdir]:
        for folder in _folders(root):
            yield from _matches(glob.escape(os.path.join(folder, "")) + (tail[0] or "*"))


def _matching_files(pattern: str) -> list[str]:
    real = functools.cache(os.path.realpath)
    files: dict[tuple[str, str], str] = {}
    for match in sorted(set(_matches(pattern))):
        if os.path.isfile(match):
            folder, name = os.path.split(match)
            files.setdefault((real(folder), name), match)
    return list(files.values())


def expand_path(path: str | os.PathLike[str]) -> list[str]:
    """Files that a path, directory or glob pattern names, in sorted order.

    Of a directory and a pattern these are regular files, and links to such. A pattern follows links to directories; a
    file that it reaches through several of them counts once, two names in one directory that link to one file count
    twice. A directory's own files are found without following links to directories.

    Raises
    ------
    FileNotFoundError
        When there are none; the message says what else can be passed.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"paths must be str, got {name!r}")
    if exists(name):
        return _files_under(name) if os.path.isdir(name) else [name]
    if _looks_like_pattern(name) and "\n" not in name and len(name) < 4096:
        files = _matching_files(name)
        if files:
            return files
        raise FileNotFoundError(f"the pattern {_shortened(name)} matches no file")
    raise FileNotFoundError(
        f"there is no file {_shortened(name)}; a str names a file, a directory or a glob pattern. To train on text in "
        "memory pass token lists, for example [line.split() for line in text.splitlines()]"
    )


def describe_source(path: str) -> Source:
    """What kind of file a path is; raises OSError, naming the path, when it cannot be looked at."""
    status = os.stat(path)
    suffix = os.path.splitext(path)[1].lower()
    compression = suffix if suffix in _OPENERS or suffix == ".zst" else ""
    # Files of the kernel's own file systems say that they are empty until they are read.
    mappable = not compression and stat.S_ISREG(status.st_mode) and status.st_size > 0
    return Source(path, compression, mappable, status.st_size)


def _zstd_blocks(path: str) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        with importlib.import_module("compression.zstd").open(path) as file:
            yield from _plain_blocks(file)
        return
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError as error:
        raise ImportError(
            f"{path!r} is compressed with Zstandard, which needs the zstandard package: "
            "pip install 'fastembed-native[io]'"
        ) from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
    # stream_reader would end a truncated file as if it were whole; decompressobj knows.
    with open(path, "rb") as file:
        state = decompressor.decompressobj()
        pending = True  # within a frame
        while data := file.read(_COMPRESSED_INPUT_BYTES):
            while data:
                pending = True
                block = state.decompress(data)
                data = b""
                if state.eof:
                    data = state.unused_data
                    state = decompressor.decompressobj()
                    pending = False
                yield from (block[i : i + BLOCK_BYTES] for i in range(0, len(block), BLOCK_BYTES))
        if pending:
            raise EOFError("it ends within a frame")


def _plain_blocks(file: Any) -> Iterator[bytes]:
    while True:
        # Filled to the brim, so that blocks do not depend on how a pipe's writer was paced.
        parts: list[bytes] = []
        wanted = BLOCK_BYTES
        while wanted > 0 and (data := file.read(wanted)):
            parts.append(data)
            wanted -= len(data)
        if parts:
            yield b"".join(parts) if len(parts) > 1 else parts[0]
        if wanted > 0:
            return


def _is_damage(error: Exception) -> bool:
    # Errors of the system have a number, those of the decompressors have none; zstandard's is not imported here.
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, (EOFError, zlib.error, lzma.LZMAError)) or type(error).__name__ == "ZstdError"


def _decompressed_blocks(source: Source) -> Iterator[bytes]:
    try:
        if source.compression == ".zst":
            yield from _zstd_blocks(source.path)
        else:
            with _OPENERS[source.compression](source.path) as file:
                yield from _plain_blocks(file)
    except Exception as error:
        if _is_damage(error):
            raise OSError(f"cannot decompress {source.path!r}, it is truncated or damaged: {error}") from error
        raise


@contextmanager
def _in_background(blocks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Runs an iterator in a thread of its own, a few blocks ahead."""
    ahead: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=3)
    stop = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.05)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for block in blocks:
                put(block)
                if stop.is_set():
                    return
        except BaseException as error:
            put(error)
        else:
            put(None)

    def consume() -> Iterator[bytes]:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=produce, name="fastembed-decompress", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()


@contextmanager
def open_blocks(source: Source) -> Iterator[Iterator[bytes]]:
    """Blocks of the source's text; decompression runs in a thread of its own."""
    if source.compression:
        with _in_background(_decompressed_blocks(source)) as blocks:
            yield blocks
    else:
        # Unbuffered and on this thread: a signal must be able to interrupt waiting for a pipe.
        with io.FileIO(source.path) as file:
            yield _plain_blocks(file)


def _is_null(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def is_column(corpus: Any) -> bool:
    """Is this an Arrow, pandas or polars object rather than a list?"""
    library = type(corpus).__module__.partition(".")[0]
    return (
        hasattr(corpus, "__arrow_c_stream__")
        or hasattr(corpus, "__arrow_c_array__")
        or library in ("pandas", "polars", "pyarrow")
    )


def _slicer(column: Any) -> tuple[int, Callable[[int, int], list[Any]]]:
    """Length of a column and a function that gives elements [begin, end) as a list."""
    library = type(column).__module__.partition(".")[0]
    if library == "pandas" and hasattr(column, "iloc"):
        return len(column), lambda begin, end: list(column.iloc[begin:end])
    if library == "polars":
        return len(column), lambda begin, end: list(column.slice(begin, end - begin).to_list())
    if library != "pyarrow":
        try:
            arrow: Any = importlib.import_module("pyarrow")
        except ImportError as error:
            raise ImportError(
                f"reading a {type(column).__name__} through the Arrow interface needs pyarrow: pip install pyarrow"
            ) from error
        stream = hasattr(column, "__arrow_c_stream__")
        column = arrow.chunked_array(column) if stream else arrow.array(column)
    return len(column), lambda begin, end: list(column.slice(begin, end - begin).to_pylist())


def column_batches(column: Any) -> Iterator[list[Any]]:
    """Elements of a column, nulls left out, in batches of a few megabytes."""
    if getattr(column, "ndim", 1) != 1 or hasattr(column, "columns") or hasattr(column, "column_names"):
        raise TypeError(f"corpus is a {type(column).__name__}, a whole table; pass one of its columns")
    length, elements = _slicer(column)
    rows = 256
    begin = 0
    while begin < length:
        end = min(length, begin + rows)
        batch = [value for value in elements(begin, end) if not _is_null(value)]
        size = sum(map(len, batch)) if batch and all(hasattr(value, "__len__") for value in batch) else 0
        if batch:
            yield batch
        rows = max(1, min(65536, int(BLOCK_BYTES / max(1.0, size / (end - begin)))))
        begin = end
