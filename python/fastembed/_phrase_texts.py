"""Texts on their way through the joining of phrases: files to joined blocks and lines, other corpora to sentences.

Knows nothing of scores. Called by `phrases`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._corpus import check_corpus_type, check_integers, paths_of
from fastembed._corpus_sources import Source, column_batches, describe_source, is_column, open_blocks

if TYPE_CHECKING:
    from fastembed import _core

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SENTENCES_AT_ONCE = 4096


def sources_of(corpus: Any) -> list[Source] | None:
    """The files that `corpus` names; None when it is no path and no list of paths."""
    files = paths_of(corpus)
    return None if files is None else [describe_source(path) for path in files]


def _join_source(
    source: Source, stream: _core.PhraseStream, keep_mark: bool, on_bytes: Callable[[int], None]
) -> Iterator[bytes]:
    """The joined text of one file; `on_bytes` is told the size of each block that has been read."""
    first = True
    with open_blocks(source) as blocks:
        for block in blocks:
            text = block
            if first and block.startswith(_BYTE_ORDER_MARK):
                text = block[len(_BYTE_ORDER_MARK) :]
                if keep_mark:
                    yield _BYTE_ORDER_MARK
            first = False
            yield stream.feed(text, False)
            on_bytes(len(block))
    yield stream.feed(b"", True)


def join_blocks(
    sources: list[Source], new_stream: Callable[[], _core.PhraseStream], on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    """The joined text of all files in blocks; `on_progress` is told how many bytes have been read so far."""
    done = 0

    def count(read: int) -> None:
        nonlocal done
        done += read
        on_progress(done)

    for number, source in enumerate(sources):
        end = b""
        for block in _join_source(source, new_stream(), number == 0, count):
            end = block[-1:] or end
            yield block
        if end not in (b"", b"\n") and number + 1 < len(sources):
            yield b"\n"


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for block in blocks:
        lines, newline, rest = block.rpartition(b"\n")
        if newline:
            yield from b"".join([*parts, lines]).split(b"\n")
            parts = []
        parts.append(rest)
    last = b"".join(parts)
    if last:
        yield last


def joined_lines(
    sources: list[Source], new_stream: Callable[[], _core.PhraseStream], errors: str
) -> Iterator[list[str]]:
    """The tokens of each line of the joined files."""
    for source in sources:
        for line in _whole_lines(_join_source(source, new_stream(), False, lambda done: None)):
            # bytes.split knows ASCII's white space only, as the corpus reader does; str.split more.
            tokens = line.split()
            try:
                text = b" ".join(tokens).decode("utf-8", errors)
            except UnicodeDecodeError as error:
                error.reason += (
                    f": a line of {source.path!r} is not UTF-8; errors='replace' or errors='ignore' reads on"
                )
                raise
            yield [token for token in text.split(" ") if token] if text else []


def _integer_sentences(ids: Any, offsets: Any) -> Iterator[list[str]]:
    for first in range(0, len(offsets) - 1, _SENTENCES_AT_ONCE):
        borders = offsets[first : first + _SENTENCES_AT_ONCE + 1].tolist()
        for begin, end in itertools.pairwise(borders):
            yield [str(number) for number in ids[begin:end].tolist()]


def _column_sentences(column: Any) -> Iterator[Any]:
    for batch in column_batches(column):
        for value in batch:
            if not isinstance(value, str):
                yield value
                continue
            for line in value.split("\n"):
                yield [
                    token.decode("utf-8", "surrogatepass") for token in line.encode("utf-8", "surrogatepass").split()
                ]


def _token_lists(sentences: Iterable[Any]) -> Iterator[list[str]]:
    """`sentences` as lists; what is none is refused in the words of training's reader."""
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, (str, bytes, bytearray, dict)) or not isinstance(sentence, Iterable):
            hint = ": split it first, for example with str.split()" if isinstance(sentence, str) else ""
            kind = type(sentence).__name__
            raise TypeError(f"sentence {number} is a {kind}; a sentence must be a list of str tokens{hint}")
        tokens = list(sentence)
        try:
            "".join(tokens)  # looks at all of them in a fifth of a loop's time
        except TypeError:
            position = next(index for index, token in enumerate(tokens) if not isinstance(token, str))
            kind = type(tokens[position]).__name__
            raise TypeError(f"token {position} of sentence {number} is a {kind}; tokens must be str") from None
        yield tokens


def sentences_of(corpus: Any) -> Iterator[list[str]]:
    """The token lists of a corpus that is not files.

    Raises
    ------
    TypeError
        `corpus` is no corpus; a sentence or a token is of another type: when the iterator comes there.
    ValueError
        `corpus` is ``(ids, offsets)`` but not as `fastembed.train_word2vec` takes them.
    """
    if isinstance(corpus, tuple) and len(corpus) == 2 and any(isinstance(part, np.ndarray) for part in corpus):
        ids, offsets = corpus
        check_integers(ids, offsets)
        if ids.size and ids.min() < 0:
            index = int(np.argmax(ids < 0))
            raise ValueError(f"ids must not be negative, got {ids[index]} at index {index}")
        return _integer_sentences(ids, offsets)
    if is_column(corpus):
        return _token_lists(_column_sentences(corpus))
    check_corpus_type(corpus)
    return _token_lists(corpus)
