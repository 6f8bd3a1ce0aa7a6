"""From any kind of corpus to a vocabulary and int32 ids, read once."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._corpus_sources import Source, column_batches, describe_source, exists, expand_path, is_column, open_blocks
from ._memory import memory_limit
from ._progress import progress_bar
from ._validate import check_int

if TYPE_CHECKING:
    from ._continue import Initial

logger = logging.getLogger("fastembed")

MAX_VOCAB_SIZE = 40_000_000
_BATCH_TOKENS = 1 << 18
_ACCEPTED = (
    "a path (str or os.PathLike) to a file or directory, a glob pattern, a list of paths, an iterable of token lists, "
    "a tuple (ids, offsets) of NumPy integer arrays, or a column of strings (Arrow, pandas, polars)"
)


@dataclass(frozen=True)
class CorpusStats:
    """What was read.

    Attributes
    ----------
    raw_tokens : int
        Tokens in the corpus, those that were dropped included.
    kept_tokens : int
        Tokens left, ``len(ids)``.
    bytes : int
        Bytes of text, after decompression; 0 for token lists and integers.
    distinct_words : int
        Distinct words before `min_count` and `max_final_vocab`.
    long_tokens : int
        Tokens dropped because they are longer than 64 KiB.
    repaired_tokens : int
        Tokens changed by ``errors="replace"`` or ``errors="ignore"``.
    prune_count, pruned_words : int
        How often the vocabulary outgrew `max_vocab_size`, and how many words were given up.
    effective_min_count : int
        The least count of a word that was kept.
    spooled_bytes : int
        Bytes of encoded ids and offsets in a temporary file; 0 when all fits the memory budget.
    """

    raw_tokens: int
    kept_tokens: int
    bytes: int
    distinct_words: int
    long_tokens: int
    repaired_tokens: int
    prune_count: int
    pruned_words: int
    effective_min_count: int
    spooled_bytes: int


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """A corpus as numbers.

    Attributes
    ----------
    words : list of str
        The vocabulary, most frequent first; equally frequent words in the order of their UTF-8 bytes.
    counts : ndarray of int64, shape (n_words,)
    ids : ndarray of int32, shape (n_tokens,)
        Positions in `words`, all sentences one after the other.
    offsets : ndarray of int64, shape (n_sentences + 1,)
        Sentence i is ``ids[offsets[i]:offsets[i + 1]]``. No sentence is empty.
    stats : CorpusStats
    """

    words: list[str]
    counts: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    stats: CorpusStats


def default_memory_budget() -> int:
    """A quarter of the memory that this process may use."""
    return memory_limit() // 4


class Progress:
    """A tqdm bar of bytes or sentences, or nothing."""

    def __init__(self, enabled: bool, unit: str, total: int | None, label: str = "corpus") -> None:
        self._bar = progress_bar(enabled, desc=label, total=total, unit=unit, unit_scale=True)

    def to(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    @property
    def callback(self) -> Callable[[int], None] | None:
        return None if self._bar is None else self.to

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _add_sources(encoder: _core.CorpusEncoder, sources: list[Source], progress: Progress) -> None:
    mapped: list[bytes] = []
    for source in sources:
        if source.mappable:
            mapped.append(os.fsencode(source.path))
            continue
        if mapped:
            encoder.add_files(mapped, progress.callback)
            mapped = []
        label = repr(source.path)
        with open_blocks(source) as blocks:
            for block in blocks:
                encoder.add_bytes(block, label, False, progress.callback)
        encoder.add_bytes(b"", label, True, progress.callback)
    if mapped:
        encoder.add_files(mapped, progress.callback)
    progress.to(encoder.bytes_done)


def _add_column(encoder: _core.CorpusEncoder, column: Any, progress: Progress) -> None:
    label = f"a {type(column).__name__}"
    has_strings = False
    for batch in column_batches(column):
        if isinstance(batch[0], str):
            strings = [value for value in batch if isinstance(value, str)]
            if len(strings) != len(batch):
                raise TypeError("a column must hold only strings or only lists of tokens, this one is mixed")
            text = "\n".join(strings) + "\n"
            encoder.add_bytes(text.encode("utf-8", "surrogatepass"), label, False, progress.callback)
            has_strings = True
        elif hasattr(batch[0], "__len__") and hasattr(batch[0], "__iter__"):
            encoder.add_tokens(iter(batch), 1 << 62)
        else:
            raise TypeError(f"a column must hold strings or lists of tokens, got {type(batch[0]).__name__}")
        progress.to(encoder.bytes_done)
    if has_strings:
        encoder.add_bytes(b"", label, True, None)


def _add_sentences(encoder: _core.CorpusEncoder, sentences: Iterable[Any], progress: Progress) -> None:
    iterator = iter(sentences)
    more = True
    while more:
        more = encoder.add_tokens(iterator, _BATCH_TOKENS)
        progress.to(encoder.sentences_given)


def check_integers(ids: Any, offsets: Any) -> None:
    """Raise unless these are arrays of integers and `offsets` cut `ids` into sentences; the ids are not looked at."""
    for name, array in (("ids", ids), ("offsets", offsets)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array of integers, got {type(array).__name__}")
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be an array of integers, got dtype {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"{name} must have 1 dimension, got {array.ndim}")
    if not offsets.size:
        raise ValueError("offsets must have at least 1 element, got none")
    if offsets[0] != 0:
        raise ValueError(f"offsets must start at 0, got {offsets[0]}")
    descents = np.flatnonzero(offsets[1:] < offsets[:-1])
    if descents.size:
        after, before = offsets[descents[0] + 1], offsets[descents[0]]
        raise ValueError(f"offsets must not descend: offsets[{descents[0] + 1}] is {after} after {before}")
    if offsets[-1] != ids.size:
        raise ValueError(f"offsets must end at the number of ids, {ids.size}, got {offsets[-1]}")


def _add_integers(encoder: _core.CorpusEncoder, ids: Any, offsets: Any) -> None:
    check_integers(ids, offsets)
    kind = ids.dtype.kind + str(max(4, ids.dtype.itemsize))
    encoder.add_integers(np.ascontiguousarray(ids, kind), np.ascontiguousarray(offsets, np.int64))


def paths_of(corpus: Any) -> list[str] | None:
    """The files that `corpus` names; None when it is no path and no list of paths."""
    if isinstance(corpus, (str, os.PathLike)):
        return expand_path(corpus)
    if not isinstance(corpus, (list, tuple)) or not corpus or not isinstance(corpus[0], (str, os.PathLike)):
        return None
    files: list[str] = []
    for index, item in enumerate(corpus):
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(f"a list of paths must hold nothing else, item {index} is a {type(item).__name__}")
        try:
            files += expand_path(item)
        except FileNotFoundError as error:
            if not isinstance(item, str) or _names_a_file(corpus):
                raise
            shown = item if len(item) <= 40 else item[:37] + "..."
            raise TypeError(
                f"corpus is a list of str, and item {index}, {shown!r}, is not an existing file. Pass a list of token "
                "lists, for example [sentence.split() for sentence in sentences], or a path or pathlib.Path objects"
            ) from error
    return files


def _names_a_file(items: Sequence[Any]) -> bool:
    """Tell a list of paths, of which some are wrong, from one of sentences: the first few tell."""
    return any(isinstance(item, os.PathLike) or (isinstance(item, str) and exists(item)) for item in items[:100])


def check_corpus_type(corpus: Any) -> None:
    reason = ""
    if isinstance(corpus, (bytes, bytearray, memoryview)):
        reason = "; decode it, or pass the path of the file it came from"
    elif hasattr(corpus, "read"):
        reason = "; pass its path instead of the open file"
    elif isinstance(corpus, np.ndarray) and corpus.dtype != object:
        reason = "; integers need their sentence borders too: (ids, offsets)" if corpus.dtype.kind in "iu" else ""
    elif isinstance(corpus, Iterable) and not isinstance(corpus, (Mapping, set, frozenset)):
        return
    raise TypeError(f"corpus is a {type(corpus).__name__}{reason}. Accepted: {_ACCEPTED}")


def _add_corpus(encoder: _core.CorpusEncoder, corpus: Any, progress: bool) -> None:
    if isinstance(corpus, tuple) and len(corpus) == 2 and any(isinstance(part, np.ndarray) for part in corpus):
        _add_integers(encoder, *corpus)
        return
    files = paths_of(corpus)
    bar: Progress
    if files is not None:
        sources = [describe_source(path) for path in files]
        known = all(source.mappable for source in sources)
        bar = Progress(progress, "B", sum(source.size for source in sources) if known else None)
    elif is_column(corpus):
        bar = Progress(progress, "B", None)
    else:
        check_corpus_type(corpus)
        bar = Progress(progress, "sentence", len(corpus) if hasattr(corpus, "__len__") else None)
    try:
        if files is not None:
            _add_sources(encoder, sources, bar)
        elif is_column(corpus):
            _add_column(encoder, corpus, bar)
        else:
            _add_sentences(encoder, corpus, bar)
    finally:
        bar.close()


def _report(stats: CorpusStats, max_vocab_size: int) -> None:
    if stats.prune_count:
        logger.warning(
            "the vocabulary outgrew max_vocab_size=%d %d times; %d rare words were given up on the way, so that "
            "counts of rare words are too low",
            max_vocab_size,
            stats.prune_count,
            stats.pruned_words,
        )
    if stats.long_tokens:
        logger.warning("%d tokens longer than 64 KiB were dropped", stats.long_tokens)
    if stats.repaired_tokens:
        logger.warning("%d tokens were not valid UTF-8 and were changed", stats.repaired_tokens)


def read_corpus(
    corpus: Any,
    *,
    min_count: int,
    max_final_vocab: int | None = None,
    max_vocab_size: int | None = None,
    workers: int | None = None,
    errors: str = "strict",
    memory_budget: int | None = None,
    progress: bool = False,
    known: Initial | None = None,
    break_at_dropped: bool = False,
    chunk_bytes: int = 1 << 20,
    chunks_per_round: int = 64,
) -> EncodedCorpus:
    """As `encode_corpus`, but content with any number of words.

    With `break_at_dropped` a word that is dropped ends the sentence: the words beside it do not become neighbours.
    """
    min_count = check_int("min_count", min_count, 0)
    if max_final_vocab is not None:
        max_final_vocab = check_int("max_final_vocab", max_final_vocab, 1)
    max_vocab_size = MAX_VOCAB_SIZE if max_vocab_size is None else check_int("max_vocab_size", max_vocab_size, 1)
    if workers is not None:
        workers = check_int("workers", workers, 1)
    if not isinstance(errors, str):
        raise TypeError(f"errors must be a str, got {type(errors).__name__}")
    budget = default_memory_budget() if memory_budget is None else check_int("memory_budget", memory_budget, 0)
    encoder = _core.CorpusEncoder(
        workers=workers,
        errors=errors,
        max_vocab_size=max_vocab_size,
        memory_budget=budget,
        spool_directory=tempfile.gettempdir(),
        chunk_bytes=chunk_bytes,
        chunks_per_round=chunks_per_round,
        break_at_dropped=break_at_dropped,
    )
    _add_corpus(encoder, corpus, progress)
    words, counts, ids, offsets, numbers = encoder.finish(
        min_count, max_final_vocab, *(() if known is None else (known.words, known.counts))
    )
    stats = CorpusStats(**numbers)
    if stats.raw_tokens == 0:
        raise ValueError("the corpus is empty: it has no tokens")
    _report(stats, max_vocab_size)
    return EncodedCorpus(words, counts, ids, offsets, stats)


def encode_corpus(
    corpus: Any,
    *,
    min_count: int = 5,
    max_final_vocab: int | None = None,
    max_vocab_size: int | None = None,
    workers: int | None = None,
    errors: str = "strict",
    memory_budget: int | None = None,
    progress: bool = False,
    known: Initial | None = None,
    _chunk_bytes: int = 1 << 20,
    _chunks_per_round: int = 64,
) -> EncodedCorpus:
    """Count the words of a corpus and encode it as integers, in one pass with all workers.

    Parameters
    ----------
    corpus : path, list of paths, iterable of token lists, (ids, offsets), or column of strings
        - A path (str or os.PathLike) to a text file: one sentence a line. Suffixes .gz, .bz2, .xz, .lzma and .zst are
          decompressed on the way (.zst needs the zstandard package, ``pip install 'fastembed-native[io]'``, or Python
          3.14). Pipes and devices are read in blocks.
        - A directory: all regular files in it and below, in sorted order, without hidden ones. Links to directories are
          not followed.
        - A glob pattern with ``*``, ``?``, ``[...]`` or ``**``: all regular files, in sorted order. Links to
          directories are followed, but a file that several of them lead to counts once; two names in one directory
          that link to one file count twice.
        - A list of paths: pathlib.Path objects, or str that all name existing files.
        - Any iterable of token lists; a generator is iterated exactly once. Tokens are taken as they are, white space
          in them included.
        - A tuple (ids, offsets) of NumPy integer arrays, for graph walks and item sequences: ids are at least 0,
          sentence i is ``ids[offsets[i]:offsets[i + 1]]``. The words are the decimal numbers.
        - A column of strings, each a sentence or several lines, or of token lists: a pandas or polars Series, a pyarrow
          Array or ChunkedArray, or anything with ``__arrow_c_stream__`` (needs pyarrow). Nulls are skipped.
    min_count : int
        Words that occur less often are dropped.
    max_final_vocab : int, optional
        Keep at most so many words: the least count is raised until no more are left, so that words as frequent as the
        first one beyond the limit go too (as in gensim).
    max_vocab_size : int, optional
        Distinct words held in memory while reading, 40 million by default. When there are more at the end of a round of
        64 MiB of text, the rarest are given up with a warning (as in gensim). A word takes 50 to 105 bytes, and its
        length more when that is above 15 bytes, in each worker that met it; half as much again while a table grows, and
        as much again while the workers' tables are merged. A round can add words before they are counted.
    workers : int, optional
        Threads; by default all cores this process may use. The result does not depend on it.
    errors : {"strict", "replace", "ignore"}
        What to do with bytes that are not UTF-8, in the sense of ``bytes.decode``: fail, replace them by U+FFFD, or
        remove them (a token with nothing left disappears). Overlong forms and surrogates are invalid.
    memory_budget : int, optional
        Bytes of encoded ids (4 a token) held in memory; beyond it they go to an unlinked temporary file in
        ``tempfile.gettempdir()`` that is mapped into memory, and that nothing can leave behind. A quarter of the memory
        by default.
    progress : bool
        Show a progress bar.
    known : Initial, optional
        Words that stay in the vocabulary however rare they are in this corpus, absent ones too, and whose counts are
        added to those of the corpus. `min_count` applies to the other words; `max_final_vocab` to all, but only other
        words are dropped for it.

    Returns
    -------
    EncodedCorpus
        The same for any number of workers.

    Raises
    ------
    TypeError
        If `corpus` is none of the above, holds str where token lists belong, or tokens that are not str.
    ValueError
        If the corpus is empty, none of its words or fewer than 2 words are left, if a token is longer than 64 KiB under
        ``errors="strict"`` (it is dropped, with a warning, otherwise), or if (ids, offsets) are not as described.
    UnicodeDecodeError
        If a text is not UTF-8 under ``errors="strict"``; a ValueError that names the file, the byte offset and the
        bytes.
    OSError
        If a file cannot be read (FileNotFoundError, PermissionError) or decompressed.
    ImportError
        If a .zst file is met without the zstandard package.

    Notes
    -----
    Tokens are separated by ASCII white space (space, \\t, \\n, \\v, \\f, \\r), and a newline or the end of a file ends
    a sentence; so CRLF needs no care. A UTF-8 byte order mark at the start of a file is skipped. The last line needs no
    newline. NUL is an ordinary byte. A sentence may be as long as the corpus: files are cut into pieces at any white
    space, and all workers read the same line.

    Files are mapped into memory. They must not become shorter while they are read: touching a page that is gone
    ends the process with SIGBUS, as for every program that maps files.

    The time is linear in the bytes of the corpus. Ctrl-C is answered within 0.2 s.

    Examples
    --------
    >>> corpus = encode_corpus([["a", "rose", "is"], ["a", "rose"]], min_count=2)
    >>> corpus.words, corpus.ids.tolist(), corpus.offsets.tolist()
    (['a', 'rose'], [0, 1, 0, 1], [0, 2, 4])
    """
    encoded = read_corpus(
        corpus,
        min_count=min_count,
        max_final_vocab=max_final_vocab,
        max_vocab_size=max_vocab_size,
        workers=workers,
        errors=errors,
        memory_budget=memory_budget,
        progress=progress,
        chunk_bytes=_chunk_bytes,
        chunks_per_round=_chunks_per_round,
        known=known,
    )
    words, stats = encoded.words, encoded.stats
    if len(words) < 2:
        raise ValueError(
            f"the vocabulary has {len(words)} words, at least 2 are needed: of {stats.distinct_words} distinct words "
            f"in the corpus {len(words)} occur at least {stats.effective_min_count} times (min_count={min_count}"
            + (f", max_final_vocab={max_final_vocab})" if max_final_vocab is not None else ")")
        )
    if len(encoded.ids) == 0:
        raise ValueError(
            f"the corpus has no word of the vocabulary: none of its {stats.distinct_words} distinct words is in init "
            f"or occurs at least {stats.effective_min_count} times (min_count={min_count})"
        )
    return encoded
