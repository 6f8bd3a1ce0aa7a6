"""Files that appear whole or not at all.

Holds the one way in which this package replaces a file: write a temporary sibling, flush it to the disk, rename it
over the target. Must not know what is written. Called by the store and by the word2vec writers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from typing import TYPE_CHECKING, BinaryIO, cast

from fastembed._validate import check_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "TEMPORARY_NAME",
    "atomic_write",
    "check_file_target",
    "check_parent",
    "compressed_suffix",
    "fsync_directory",
    "naming_full_disk",
    "open_reader",
]

#: Names of the temporary siblings. A process killed while writing leaves one behind; nothing ever reads it.
TEMPORARY_NAME = re.compile(r"\.fastembed-[0-9a-f]{16}\.tmp")

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")
#: What a corpus may be compressed by but nothing is written with.
_UNWRITTEN_SUFFIXES = frozenset({".zst", ".lzma"})


def fsync_directory(directory: str | os.PathLike[str]) -> None:
    """Make renames inside `directory` survive a power cut, where the system allows it."""
    if os.name == "nt":  # Windows cannot open a directory as a file
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse to sync directories; the rename itself has been done
        pass
    finally:
        os.close(descriptor)


def check_parent(path: str | os.PathLike[str]) -> None:
    """Raise unless `path` can be a name in a directory that exists and is writable.

    Raises
    ------
    ValueError
        `path` is empty.
    FileNotFoundError
        The parent directory does not exist.
    NotADirectoryError
        The parent is a file.
    PermissionError
        The parent directory is not writable.
    OSError
        The file system does not take the name, which may be too long.
    """
    if not os.fspath(path):
        raise ValueError("cannot write '': a path was wanted, got an empty one")
    target = os.path.realpath(path)
    parent = os.path.dirname(target)
    if not os.path.exists(parent):
        raise FileNotFoundError(f"cannot write {os.fspath(path)!r}: the directory {parent!r} does not exist")
    if not os.path.isdir(parent):
        raise NotADirectoryError(f"cannot write {os.fspath(path)!r}: {parent!r} is not a directory")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {os.fspath(path)!r}: the directory {parent!r} is not writable")
    with contextlib.suppress(FileNotFoundError):
        os.lstat(target)


def check_file_target(path: str | os.PathLike[str], *, compress: bool = False) -> None:
    """Raise unless `atomic_write` may write `path` with this `compress`; for what is to be known before long work.

    Raises
    ------
    TypeError
        `path` is neither str nor os.PathLike of one.
    IsADirectoryError
        `path` is a directory.
    ValueError
        `path` is empty, or a device, pipe or socket, over which no file can be renamed; or its name asks for a
        compression that is not written.
    OSError
        See `check_parent`.
    """
    name = check_path("path", path)
    if os.path.isdir(name):
        raise IsADirectoryError(f"cannot write the file {name!r}: it is a directory")
    # Not its real path: that of /dev/stdout names nothing when it is a pipe.
    if os.path.exists(name) and not os.path.isfile(name):
        raise ValueError(f"cannot write {name!r}: it is not a regular file")
    suffixes = {os.path.splitext(named)[1].lower() for named in (name, os.path.realpath(name))}
    if compress and suffixes & _UNWRITTEN_SUFFIXES:
        raise ValueError(f"cannot write {name!r}: this compression is not written; use .gz, .bz2 or .xz")
    check_parent(path)


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give the errors of the block that say that there is no room the name of the file, which writing does not know."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = os.fspath(path)
        raise


def compressed_suffix(path: str | os.PathLike[str]) -> str:
    """Return ".gz", ".bz2" or ".xz" if the name of `path` ends so, else ""."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    return suffix if suffix in _COMPRESSED_SUFFIXES else ""


def open_reader(path: str | os.PathLike[str]) -> BinaryIO:
    """Open `path` for reading bytes, decompressing by its suffix."""
    suffix = compressed_suffix(path)
    if suffix == ".gz":
        import gzip

        return cast("BinaryIO", gzip.open(path, "rb"))
    if suffix == ".bz2":
        import bz2

        return cast("BinaryIO", bz2.open(path, "rb"))
    if suffix == ".xz":
        import lzma

        return cast("BinaryIO", lzma.open(path, "rb"))
    return open(path, "rb")


@contextlib.contextmanager
def _compressor(file: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """Wrap `file` so that what is written is compressed; the end of the stream is written on leaving."""
    if suffix == ".gz":
        import gzip

        # No name and no time in the header: equal content gives equal bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".bz2":
        import bz2

        with bz2.BZ2File(file, "wb") as stream_bz2:
            yield cast("BinaryIO", stream_bz2)
    elif suffix == ".xz":
        import lzma

        with lzma.LZMAFile(file, "wb") as stream_xz:
            yield cast("BinaryIO", stream_xz)
    else:
        yield file


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, compress: bool = False) -> Iterator[BinaryIO]:
    """Give a binary file whose content replaces `path` when the block ends without an exception.

    Parameters
    ----------
    path : str or os.PathLike
        The file to create or replace. A symbolic link is followed: the file it names is replaced.
    compress : bool, default False
        Compress by the suffix of `path` (.gz, .bz2, .xz).

    Yields
    ------
    BinaryIO
        Open for writing.

    Raises
    ------
    TypeError, ValueError, OSError
        `path` cannot be written: see `check_file_target`.

    Notes
    -----
    A reader, and a process killed at any moment, sees the old content whole or the new content whole. A kill may leave
    a file named ``.fastembed-<16 hex digits>.tmp`` behind.
    """
    check_file_target(path, compress=compress)
    target = os.path.realpath(path)
    parent = os.path.dirname(target)
    temporary = os.path.join(parent, f".fastembed-{secrets.token_hex(8)}.tmp")
    # Not tempfile.mkstemp, which makes a file that only its owner may read: the result is to have the usual mode.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with naming_full_disk(path), open(descriptor, "wb", buffering=1 << 18) as file:
            with _compressor(file, compressed_suffix(target) if compress else "") as stream:
                yield stream
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_directory(parent)
