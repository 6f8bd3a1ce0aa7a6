"""The text and binary formats of word2vec.c, both ways.

Both begin with a line ``<number of words> <vector size>``. Text: one line a word, ``word value value ...``. Binary:
the word, one space, the values as little-endian float32, and (word2vec.c, not gensim) a line feed. Neither can hold a
word with a space or a line feed, counts, or output vectors.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from fastembed._atomic import atomic_write, open_reader
from fastembed._validate import check_bool, check_int
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["load_word2vec_format", "save_vocabulary", "save_word2vec_format"]

_ROWS_PER_WRITE = 1024
_CHUNK_BYTES = 1 << 22
_MAX_HEADER_BYTES = 128
_MAX_WORD_BYTES = 1 << 20
_TEXT_CHARACTERS = frozenset(b"0123456789+-.eE \t\r\nnaifNAIFty")
_PRINTABLE = frozenset(b"\t\n\r") | frozenset(range(32, 256)) - {127}


def _encoded_words(words: list[str]) -> list[bytes]:
    """UTF-8 of every word.

    Raises
    ------
    ValueError
        A word cannot be written in these formats; the message names it.
    """
    encoded = []
    for index, word in enumerate(words):
        if not word or " " in word or "\n" in word:
            what = "holds a space or a line feed" if word else "is empty"
            raise ValueError(
                f"the word {word!r} (index {index}) {what}, which the word2vec formats cannot represent; use save()"
            )
        try:
            encoded.append(word.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise ValueError(f"the word {word!r} (index {index}) is not valid Unicode; use save()") from error
    return encoded


def save_word2vec_format(path: str | os.PathLike[str], vectors: WordVectors, binary: bool = False) -> None:
    """Write `vectors` for gensim, word2vec.c and others.

    Parameters
    ----------
    path : str or os.PathLike
        Compressed if it ends in .gz, .bz2 or .xz. Replaced in one step: never half-written.
    vectors : WordVectors
    binary : bool, default False
        Text writes nine significant digits, which give back the same float32.

    Raises
    ------
    OSError
        `path` cannot be written.
    ValueError
        A word is empty or holds a space or a line feed; the message names it, and nothing has been written. Or `path`
        ends in .zst or .lzma, which are not written, or is no regular file.
    """
    binary = check_bool("binary", binary)
    words = _encoded_words(vectors.index_to_key)
    rows = np.asarray(vectors.vectors)
    text_row = b" %.9g" * vectors.vector_size + b"\n"
    with atomic_write(path, compress=True) as file:
        file.write(b"%d %d\n" % rows.shape)
        for start in range(0, len(words), _ROWS_PER_WRITE):
            block = rows[start : start + _ROWS_PER_WRITE]
            block_words = words[start : start + _ROWS_PER_WRITE]
            if binary:
                little = block.astype("<f4", copy=False)
                records = [b"%b %b\n" % (word, row.tobytes()) for word, row in zip(block_words, little, strict=True)]
            else:
                records = [word + text_row % tuple(row) for word, row in zip(block_words, block.tolist(), strict=True)]
            file.write(b"".join(records))


def save_vocabulary(path: str | os.PathLike[str], vectors: WordVectors) -> None:
    """Write lines ``word count``, as word2vec.c's ``-save-vocab`` does.

    Raises
    ------
    ValueError
        There are no counts, or a word is empty or holds a space or a line feed.
    """
    if vectors.counts is None:
        raise ValueError("these vectors have no counts to write")
    words = _encoded_words(vectors.index_to_key)
    with atomic_write(path, compress=True) as file:
        file.writelines(b"%b %d\n" % pair for pair in zip(words, vectors.counts.tolist(), strict=True))


class _Reader:
    """One open file being read: what has been collected, and how to name a place in it."""

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO, errors: str, limit: int | None) -> None:
        self.name = os.fspath(path)
        self.file = file
        self.errors = errors
        header = file.readline(_MAX_HEADER_BYTES)
        fields = header.split()
        if not header.endswith(b"\n") or len(fields) != 2 or not all(field.isdigit() for field in fields):
            self.fail(
                f"line 1: '<number of words> <vector size>' was wanted, got {header[:60]!r} "
                "(files of GloVe lack this line: put it in front)"
            )
        self.header_bytes = len(header)
        self.promised, self.vector_size = int(fields[0]), int(fields[1])
        if self.vector_size == 0:
            self.fail("line 1: the vector size is 0")
        self.n_words = self.promised if limit is None else min(limit, self.promised)
        self.words: list[str] = []
        try:
            # The pages are not touched before rows arrive, so a header that promises too much costs nothing.
            self.rows: npt.NDArray[np.float32] = np.empty((self.n_words, self.vector_size), dtype=np.float32)
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"{self.name}: line 1 promises {self.n_words} x {self.vector_size} values, more than the memory holds"
            ) from error

    def fail(self, message: str) -> NoReturn:
        raise ValueError(f"{self.name}: {message}")

    def decode(self, word: bytes, place: str) -> str:
        try:
            return word.decode("utf-8", self.errors)
        except UnicodeDecodeError:
            self.fail(f"{place}: the word {word[:60]!r} is not UTF-8; errors='replace' or 'ignore' lets it pass")

    def result(self) -> WordVectors:
        """The vectors, with later repetitions of a word dropped if `errors` allows."""
        key_to_index = {word: index for index, word in reversed(list(enumerate(self.words)))}
        rows, words = self.rows, self.words
        if len(key_to_index) != len(words):
            kept = sorted(key_to_index.values())
            dropped = next(index for index, word in enumerate(words) if key_to_index[word] != index)
            first = key_to_index[words[dropped]]
            message = f"the word {words[dropped]!r} occurs as entries {first + 1} and {dropped + 1}"
            if self.errors == "strict":
                self.fail(f"{message}; errors='replace' or 'ignore' keeps the first")
            # stacklevel: result < _load < load_word2vec_format < WordVectors.load_word2vec_format < the caller
            warnings.warn(
                f"{self.name}: {message}; {len(words) - len(kept)} repeated entries were left out", stacklevel=5
            )
            rows, words = rows[kept], [words[index] for index in kept]
        return WordVectors(rows, words, config={"loaded_from": self.name})


def _parse_line(reader: _Reader, rest: bytes, line_number: int) -> list[float]:
    """Values of one line the slow way, with an error that says what is wrong."""
    fields = rest.split()
    if len(fields) != reader.vector_size:
        reader.fail(f"line {line_number}: {reader.vector_size} values were wanted after the word, got {len(fields)}")
    values = []
    for field in fields:
        try:
            if b"_" in field:  # float() reads 1_000; no other reader of this format does
                raise ValueError
            values.append(float(field))
        except ValueError:
            reader.fail(f"line {line_number}: a number was wanted, got {field[:40]!r}")
    return values


def _parse_block(reader: _Reader, rests: list[bytes], first_line: int) -> npt.NDArray[np.float32]:
    if all(rests):  # numpy.loadtxt passes over empty lines, which are errors here
        try:
            block: npt.NDArray[np.float32] = np.loadtxt(
                rests, dtype=np.float32, comments=None, delimiter=None, ndmin=2, encoding="latin1"
            )
            if block.shape == (len(rests), reader.vector_size):
                return block
        except ValueError:
            pass  # the slow way below says where
    parsed = [_parse_line(reader, rest, first_line + offset) for offset, rest in enumerate(rests)]
    with np.errstate(over="ignore"):  # 1e39 is infinity in float32, for every reader of this format
        return np.asarray(parsed, dtype=np.float32)


def _read_text(reader: _Reader) -> bytes:
    """Read all lines; return what of the last chunk lies behind them."""
    behind: list[bytes] = []
    while (done := len(reader.words)) < reader.n_words:
        lines = reader.file.readlines(_CHUNK_BYTES)
        lines, behind = lines[: reader.n_words - done], lines[reader.n_words - done :]
        if not lines:
            reader.fail(f"the file ends after {done} of the {reader.promised} words that line 1 promises")
        rests = []
        for offset, line in enumerate(lines):
            place = f"line {done + offset + 2}"
            word, _, rest = line.partition(b" ")
            if not word or word.endswith(b"\n"):
                reader.fail(f"{place}: a word and {reader.vector_size} values were wanted, got {line[:60]!r}")
            reader.words.append(reader.decode(word, place))
            rests.append(rest.rstrip())
        reader.rows[done : done + len(lines)] = _parse_block(reader, rests, done + 2)
    return b"".join(behind)


def _scan_records(buffer: bytes, row_bytes: int, most: int) -> tuple[list[bytes], list[int], int]:
    """Words and value offsets of the whole records in `buffer`, and where the first incomplete one begins."""
    words: list[bytes] = []
    offsets: list[int] = []
    position = 0
    last = len(buffer) - row_bytes
    while len(words) < most:
        space = buffer.find(b" ", position)
        if space < 0 or space >= last:
            break
        words.append(buffer[position:space].lstrip(b"\n"))  # the line feed that word2vec.c puts after the values
        offsets.append(space + 1)
        position = space + 1 + row_bytes
    return words, offsets, position


def _read_binary(reader: _Reader) -> bytes:
    """Read all records; return what of the last chunk lies behind them."""
    row_bytes = 4 * reader.vector_size
    chunk_bytes = max(_CHUNK_BYTES, 4 * row_bytes)
    buffer = b""
    buffer_start = reader.header_bytes  # in the (decompressed) file
    bytes_view = reader.rows.view(np.uint8) if reader.rows.size else None
    while (done := len(reader.words)) < reader.n_words and bytes_view is not None:
        chunk = reader.file.read(chunk_bytes)
        buffer += chunk
        words, offsets, position = _scan_records(buffer, row_bytes, reader.n_words - done)
        if words:
            flat = np.frombuffer(buffer, dtype=np.uint8)
            records = np.lib.stride_tricks.sliding_window_view(flat, row_bytes)
            bytes_view[done : done + len(words)] = records[offsets]
        for word, offset in zip(words, offsets, strict=True):
            place = f"byte {buffer_start + offset}"
            if not word:
                reader.fail(f"{place}: a word was wanted, got an empty one")
            reader.words.append(reader.decode(word, place))
        buffer, buffer_start = buffer[position:], buffer_start + position
        if len(reader.words) == reader.n_words:
            break
        if not chunk:
            reader.fail(
                f"the file ends at byte {buffer_start + len(buffer)}, in or before word {len(reader.words) + 1} of the "
                f"{reader.promised} that line 1 promises"
            )
        if len(buffer) > _MAX_WORD_BYTES + row_bytes and buffer.find(b" ", 0, _MAX_WORD_BYTES) < 0:
            reader.fail(f"byte {buffer_start}: no space within {_MAX_WORD_BYTES} bytes, so no word ends here")
    if not np.little_endian:
        reader.rows.byteswap(inplace=True)
    return buffer


def _check_end(reader: _Reader, rest: bytes) -> None:
    """Raise if more than white space follows the last record."""
    if reader.n_words < reader.promised:
        return
    while rest or (rest := reader.file.read(_CHUNK_BYTES)):
        if rest.strip():
            reader.fail(f"more data follows the {reader.promised} words that line 1 promises: {rest.strip()[:40]!r}")
        rest = b""


def _looks_binary(path: str | os.PathLike[str]) -> bool:
    """Tell the formats apart by the first record, and by the whole file where a small one leaves doubt."""
    with open_reader(path) as file:
        header = file.readline(_MAX_HEADER_BYTES).split()
        if len(header) != 2 or not all(field.isdigit() for field in header):
            return False  # the text reader reports the header
        n_words, size = int(header[0]), int(header[1])
        wanted = min(64 * size, _CHUNK_BYTES) + (1 << 16)
        sample = file.read(wanted)
    values = sample.lstrip(b"\n").partition(b" ")[2].partition(b"\n")[0]
    if _TEXT_CHARACTERS.issuperset(values) and len(values.split()) == size:
        return False
    if not _PRINTABLE.issuperset(sample):
        return True
    # Printable, but the first line is no record: a malformed text file, or a binary one of a few lucky bytes.
    words, _, end = _scan_records(sample, 4 * size, n_words)
    return len(sample) < wanted and len(words) == n_words and not sample[end:].strip()


def _load(path: str | os.PathLike[str], binary: bool, limit: int | None, errors: str) -> WordVectors:
    with open_reader(path) as file:
        reader = _Reader(path, file, errors, limit)
        _check_end(reader, _read_binary(reader) if binary else _read_text(reader))
    return reader.result()


def load_word2vec_format(
    path: str | os.PathLike[str],
    *,
    binary: bool | None = None,
    limit: int | None = None,
    errors: str = "strict",
) -> WordVectors:
    """Read what word2vec.c, gensim, fastText (.vec) or `save_word2vec_format` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        Decompressed if it ends in .gz, .bz2 or .xz.
    binary : bool, optional
        The format; None finds out by the first record.
    limit : int, optional
        Read the first `limit` words only.
    errors : {"strict", "replace", "ignore"}, default "strict"
        What to do with words that are not UTF-8 (word2vec.c cuts long words anywhere) and with words that occur twice:
        "strict" raises, the others decode so, keep the first of equal words and warn.

    Returns
    -------
    WordVectors
        Without counts, output vectors and history, which these formats do not hold.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is malformed; the message gives the line (text) or byte (binary, counted after decompression).

    Warns
    -----
    UserWarning
        Repeated words were left out.
    """
    if errors not in ("strict", "replace", "ignore"):
        raise ValueError(f"errors must be 'strict', 'replace' or 'ignore', got {errors!r}")
    if limit is not None:
        limit = check_int("limit", limit, 0, sys.maxsize)
    if binary is not None:
        binary = check_bool("binary", binary)
    broken: tuple[type[Exception], ...] = (EOFError,)
    suffix_errors: Any = _codec_errors(path)
    try:
        return _load(path, _looks_binary(path) if binary is None else binary, limit, errors)
    except broken + suffix_errors as error:
        if isinstance(error, OSError) and error.errno is not None:  # a real one, such as a missing file
            raise
        raise ValueError(f"{os.fspath(path)}: the compressed data is damaged or cut short: {error}") from error


def _codec_errors(path: str | os.PathLike[str]) -> tuple[type[Exception], ...]:
    """What the decompressor of `path` raises for damaged data."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".gz":
        import zlib

        return (OSError, zlib.error)
    if suffix == ".bz2":
        return (OSError,)
    if suffix == ".xz":
        import lzma

        return (lzma.LZMAError,)
    return ()
