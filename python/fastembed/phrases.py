"""Phrases: pairs of words that occur together far more often than apart, found and joined into single tokens.

Holds the public API. Counting and the rewriting of files run in the extension; reading corpora is `_corpus`'s.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastembed import _core
from fastembed._config import default_workers
from fastembed._validate import check_bool, check_choice, check_float, check_int, check_path

__all__ = ["Phrases", "learn_phrases"]

_log = logging.getLogger("fastembed")

_FORMAT = "fastembed phrases"
_VERSION = 1


def _check_delimiter(delimiter: object) -> str:
    if not isinstance(delimiter, str):
        raise TypeError(f"delimiter must be a str, got {type(delimiter).__name__}")
    if any(character in delimiter for character in " \t\n\v\f\r"):
        raise ValueError(f"delimiter must not hold white space, which separates tokens, got {delimiter!r}")
    try:
        delimiter.encode()
    except UnicodeEncodeError:
        raise ValueError(f"delimiter must have a UTF-8 form, got {delimiter!r}") from None
    return delimiter


class Phrases:
    """Phrases found by `learn_phrases`: pairs of words in the order of their scores, best first.

    ``len(phrases)``, ``("new", "york") in phrases`` and iteration are about the pairs. ``phrases[tokens]`` and
    ``phrases[sentences]`` join, as in gensim: see `apply` and `transform`.

    Attributes
    ----------
    min_count : int
        What was subtracted from the counts of pairs.
    threshold : float
        The score that the phrases exceed.
    delimiter : str
        What stands between the words of a joined pair.
    train_words : int
        Tokens of the corpus that the phrases were learned from.

    Examples
    --------
    >>> import fastembed
    >>> sentences = [["in", "new", "york"], ["new", "york", "is", "new"]] * 10 + [["is", "in"]] * 10
    >>> phrases = fastembed.learn_phrases(sentences, min_count=5, threshold=1.5, progress=False)
    >>> list(phrases)
    [('new', 'york')]
    >>> phrases.apply(["back", "in", "new", "york"])
    ['back', 'in', 'new_york']
    """

    def __init__(
        self,
        found: dict[tuple[str, str], tuple[int, float]],
        *,
        min_count: int,
        threshold: float,
        delimiter: str,
        train_words: int,
    ) -> None:
        self._found = found  # pair: (count, score)
        self._first_words = frozenset(first for first, _ in found)
        self._book: _core.PhraseBook | None = None
        self.min_count = min_count
        self.threshold = threshold
        self.delimiter = _check_delimiter(delimiter)
        self.train_words = train_words

    # What was found

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, pair: object) -> bool:
        return pair in self._found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Phrases):
            return NotImplemented
        return self._settings() == other._settings() and list(self._found.items()) == list(other._found.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} phrases, min_count={self.min_count}, threshold={self.threshold:g}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_book": None}

    @property
    def scores(self) -> dict[tuple[str, str], float]:
        """The score of each pair, best first; a new dict."""
        return {pair: score for pair, (_, score) in self._found.items()}

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """How often each pair occurred, in the order of the scores; a new dict."""
        return {pair: count for pair, (count, _) in self._found.items()}

    def to_list(self) -> list[tuple[str, str, int, float]]:
        """Return ``(first, second, count, score)`` for each pair, best first."""
        return [(first, second, count, score) for (first, second), (count, score) in self._found.items()]

    # Joining

    def apply(self, tokens: Iterable[str]) -> list[str]:
        """Join the phrases of one sentence.

        Parameters
        ----------
        tokens : iterable of str

        Returns
        -------
        list of str
            From left to right, the first pair that is a phrase is joined, and the next pair begins after it.

        Raises
        ------
        TypeError
            If `tokens` is a str: split it first.
        """
        if isinstance(tokens, (str, bytes, bytearray)):
            raise TypeError(f"tokens is a {type(tokens).__name__}; a list of str was wanted: split it first")
        found, first_words, delimiter = self._found, self._first_words, self.delimiter
        joined: list[str] = []
        before: str | None = None  # the token before, while it may start a pair
        for token in tokens:
            if before is not None and (before, token) in found:
                joined[-1] = f"{before}{delimiter}{token}"
                before = None
            else:
                joined.append(token)
                before = token if token in first_words else None
        return joined

    def __getitem__(self, tokens_or_sentences: Any) -> Any:
        """``apply`` for a list of str, else ``transform``."""
        given = tokens_or_sentences
        if isinstance(given, (list, tuple)) and (not given or isinstance(given[0], str)):
            return self.apply(given)
        return self.transform(given)

    def transform(self, corpus: Any, *, workers: int | None = None, errors: str = "strict") -> Iterator[list[str]]:
        """Join the phrases of a corpus, lazily.

        Parameters
        ----------
        corpus : path, list of paths, iterable of token lists, ``(ids, offsets)`` or string column
            What `train_word2vec` accepts. A generator is iterated once.
        workers : int, optional
            Threads that join texts of files; by default all cores this process may use.
        errors : {"strict", "replace", "ignore"}
            What to do about invalid UTF-8 in files.

        Returns
        -------
        iterator of list of str
            One list a sentence, for ``fastembed.train_word2vec(phrases.transform(corpus))``, or for another
            `learn_phrases`, which finds phrases of up to four words then. Blank lines are empty lists. To train on a
            file several times, or as fast as can be, write it once with `transform_file`.

        Raises
        ------
        TypeError
            If `corpus`, a sentence or a token is none of the above.
        ValueError
            If ``(ids, offsets)`` are not as `train_word2vec` takes them.
        FileNotFoundError
            If a path does not exist.
        UnicodeDecodeError
            If a text is not UTF-8 under ``errors="strict"``; only when the iterator comes there.

        Examples
        --------
        >>> import fastembed
        >>> sentences = [["new", "york"], ["new", "york"], ["is", "big"]]
        >>> phrases = fastembed.learn_phrases(sentences, min_count=1, threshold=1, progress=False)
        >>> list(phrases.transform(iter(sentences)))
        [['new_york'], ['new_york'], ['is', 'big']]
        """
        from fastembed._phrase_texts import joined_lines, sentences_of, sources_of

        workers = default_workers(workers)
        check_choice("errors", errors, ("strict", "replace", "ignore"))
        sources = sources_of(corpus)
        if sources is not None:
            return joined_lines(sources, self._streams(workers), errors)
        return map(self.apply, sentences_of(corpus))

    def transform_file(
        self,
        source: str | os.PathLike[str] | list[Any],
        target: str | os.PathLike[str],
        *,
        workers: int | None = None,
        progress: bool = True,
    ) -> None:
        """Write a text with its phrases joined.

        Parameters
        ----------
        source : path or list of paths
            Text files, one sentence a line; also compressed ones, directories and glob patterns, as for
            `train_word2vec`. Several are written one after the other.
        target : path
            The file to write; compressed when its name ends in .gz, .bz2 or .xz. It is replaced when all is done:
            whatever happens before, the old file stays as it was. It may be the source.
        workers : int, optional
            Threads; by default all cores this process may use. The result does not depend on it.
        progress : bool
            Show a progress bar on stderr.

        Raises
        ------
        TypeError
            If `source` is not a path or a list of paths.
        ValueError
            If the name of `target` ends in .zst or .lzma, which are read but not written, or it is no regular file.
        OSError
            If a file cannot be read or written.

        Notes
        -----
        Only the white space between two joined words is replaced, by the delimiter. All other bytes stay as they are,
        spaces, blank lines, line ends, a byte order mark and bytes that are not UTF-8 included; a file that does not
        end with a newline gets one if another file follows.

        Words are compared as bytes. So a word that was repaired under ``errors="replace"`` when the phrases were
        learned is found in no file.

        The time is linear in the bytes. Memory is a few blocks of 4 MiB, more only for a single token of more than
        that. Ctrl-C is answered within 0.2 s.
        """
        from fastembed._atomic import atomic_write
        from fastembed._corpus import Progress
        from fastembed._phrase_texts import join_blocks, sources_of

        workers, progress = default_workers(workers), check_bool("progress", progress)
        sources = sources_of(source)
        if sources is None:
            raise TypeError(f"source must be a path or a list of paths, got {type(source).__name__}")
        check_path("target", target)
        with atomic_write(target, compress=True) as file:
            known = all(one.mappable for one in sources)
            bar = Progress(progress, "B", sum(one.size for one in sources) if known else None, "phrases")
            try:
                for block in join_blocks(sources, self._streams(workers), bar.to):
                    file.write(block)
            finally:
                bar.close()

    def _streams(self, workers: int) -> Any:
        """A function that starts a new text for the extension."""
        if self._book is None:
            ids: dict[str, int] = {}
            first = [ids.setdefault(word, len(ids)) for word, _ in self._found]
            second = [ids.setdefault(word, len(ids)) for _, word in self._found]
            self._book = _core.PhraseBook(
                words=list(ids),
                first=np.array(first, np.int32),
                second=np.array(second, np.int32),
                delimiter=self.delimiter,
            )
        book = self._book
        return lambda: _core.PhraseStream(book=book, workers=workers)

    # Keeping

    def _settings(self) -> dict[str, Any]:
        return {
            "delimiter": self.delimiter,
            "min_count": self.min_count,
            "threshold": self.threshold,
            "train_words": self.train_words,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the phrases to a JSON file, one phrase a line: ``["new", "york", count, score]``.

        Parameters
        ----------
        path : path
            Replaced at once when all is written.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        import json

        from fastembed._atomic import atomic_write

        head = json.dumps({"format": _FORMAT, "version": _VERSION, **self._settings()}, ensure_ascii=False)
        with atomic_write(path) as file:
            file.write((head[:-1] + ', "phrases": [').encode())
            for number, phrase in enumerate(self.to_list()):
                line = ("\n" if number == 0 else ",\n") + json.dumps(phrase, ensure_ascii=False)
                file.write(line.encode())
            file.write(b"\n]}\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        Phrases
            Equal to the saved ones, to the last bit of the scores.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not a file of phrases, or damaged.
        """
        import json

        with open(path, "rb") as file:
            text = file.read()
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT or content["version"] != _VERSION:
                raise ValueError(f"format {content['format']!r} {content['version']!r}")
            found = {_checked_pair(row): (int(row[2]), float(row[3])) for row in content["phrases"]}
            if len(found) != len(content["phrases"]):
                raise ValueError("a pair occurs twice")
            return cls(
                found,
                min_count=check_int("min_count", content["min_count"], 0),
                threshold=check_float("threshold", content["threshold"], 0.0),
                delimiter=content["delimiter"],
                train_words=check_int("train_words", content["train_words"], 0),
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(
                f"{os.fspath(path)!r} is not a file of phrases, or damaged: {type(error).__name__}: {error}"
            ) from error


def _checked_pair(row: Any) -> tuple[str, str]:
    first, second, count, score = row
    if not (isinstance(first, str) and isinstance(second, str)):
        raise TypeError(f"two words were wanted, got {first!r} and {second!r}")
    check_int("count", count, 1)
    check_float("score", score, 0.0)
    return first, second


def learn_phrases(
    corpus: Any,
    *,
    min_count: int = 5,
    threshold: float = 100.0,
    delimiter: str = "_",
    max_vocab_size: int | None = None,
    workers: int | None = None,
    errors: str = "strict",
    memory_budget: int | None = None,
    progress: bool = True,
) -> Phrases:
    """Find the phrases of a corpus: pairs of neighbouring words with word2phrase's score, in one parallel pass.

    Parameters
    ----------
    corpus : path, list of paths, iterable of token lists, ``(ids, offsets)`` or string column
        What `train_word2vec` accepts, from a text file with one sentence a line to a generator of token lists. The
        words of ``(ids, offsets)`` are the decimal numbers.
    min_count : int
        Subtracted from the count of each pair, so that pairs of rare words are not found by chance. A pair that does
        not occur more often is no phrase, and so no word that does not.
    threshold : float
        A pair is a phrase if its score is greater, at least 0: higher means fewer. The score grows with the corpus.
    delimiter : str
        What stands between the words of a joined pair; no white space.
    max_vocab_size : int, optional
        Bound on the distinct words held while counting, 40 million by default: beyond it the rarest are pruned, with a
        warning. Pairs are not pruned.
    workers : int, optional
        Threads. None: `fastembed.set_num_threads`, else ``FASTEMBED_NUM_THREADS``, else the cores the process may use.
        The result does not depend on it.
    errors : {"strict", "replace", "ignore"}
        What to do about invalid UTF-8 in files.
    memory_budget : int, optional
        Bytes of the encoded corpus (4 a word) held in memory, beyond which a temporary file is used; and, apart from
        that, bytes of the tables of pairs, beyond which the encoded corpus is gone through again for a part of the
        pairs at a time. The result does not depend on it. A quarter of the memory by default.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Phrases
        Sorted by score, equal scores by count; equal counts in the order of the words' own counts.

    Raises
    ------
    TypeError
        If an argument has the wrong type, for example a list of plain strings as the corpus.
    ValueError
        If an argument is out of range or the corpus is empty.
    FileNotFoundError
        If a path does not exist.

    Notes
    -----
    The score of the words a, b, in this order and side by side in a sentence, is that of word2phrase [1]_, equation 6
    times the number of tokens in the corpus:

    ``score(a, b) = (count(a b) - min_count) * train_words / (count(a) * count(b))``

    in float64; ``train_words`` counts all tokens, rare ones included. (gensim's ``scoring="default"`` has the number
    of distinct words and pairs in place of ``train_words``: its threshold of 10 is another one.)

    Counts are exact, where the program word2phrase.c differs in details: it also counts the pair of a line's last
    word and the next line's first one, though it never joins them; keeps words and pairs in one vocabulary, so that a
    word ``new_york`` of the text adds to the pair's count; cuts words and pairs off after 59 bytes; gives up rare
    entries when its vocabulary is full; computes in float32; and treats carriage returns as if they were not there.

    The time is linear in the bytes of the corpus. Of all pairs only those are counted whose words are neither too rare
    nor too frequent for any partner: a pair occurs at most as often as each word, so a word of count c scores at most
    ``(c - min_count) * train_words / c**2``. Memory beyond the encoded corpus: 8 bytes for each such pair of a round
    of up to 32M words, and 26 to 51 bytes for each distinct one. Ctrl-C is answered within 0.2 s.

    References
    ----------
    .. [1] T. Mikolov, I. Sutskever, K. Chen, G. Corrado and J. Dean, "Distributed representations of words and phrases
       and their compositionality", NIPS 2013, section 4.

    Examples
    --------
    >>> import fastembed
    >>> sentences = [["new", "york"], ["new", "york"], ["is", "big"]]
    >>> phrases = fastembed.learn_phrases(sentences, min_count=1, threshold=1, progress=False)
    >>> phrases.to_list()
    [('new', 'york', 2, 1.5)]
    """
    min_count = check_int("min_count", min_count, 0, 2**40)
    threshold = check_float("threshold", threshold, 0.0)
    delimiter = _check_delimiter(delimiter)
    workers = default_workers(workers)
    progress = check_bool("progress", progress)

    from fastembed._corpus import default_memory_budget, read_corpus

    budget = default_memory_budget() if memory_budget is None else check_int("memory_budget", memory_budget, 0)
    encoded = read_corpus(
        corpus,
        min_count=min_count + 1,  # a pair occurs at most as often as its words
        max_vocab_size=max_vocab_size,
        workers=workers,
        errors=errors,
        memory_budget=budget,
        progress=progress,
        break_at_dropped=True,
    )
    train_words = encoded.stats.raw_tokens
    first, second, counts, scores = _core.count_phrases(
        ids=encoded.ids,
        offsets=encoded.offsets,
        counts=encoded.counts,
        train_words=train_words,
        min_count=min_count,
        threshold=threshold,
        workers=workers,
        memory_budget=budget,
    )
    words = encoded.words
    pairs = ((words[a], words[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True))
    found = dict(zip(pairs, zip(counts.tolist(), scores.tolist(), strict=True), strict=True))
    _log.info("found %d phrases among %d words of text", len(found), train_words)
    return Phrases(found, min_count=min_count, threshold=threshold, delimiter=delimiter, train_words=train_words)
