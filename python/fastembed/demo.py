"""Word vectors from the English text inside every Python installation.

Holds the demo's corpus (the language reference in ``pydoc_data.topics`` and the docstrings of the standard library's
sources) and the demo itself. Needs no download. Called by ``fastembed demo``.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fastembed.vectors import WordVectors

__all__ = ["DEMO_WORDS", "demo_sentences", "run_demo"]

#: Words whose neighbours the demo prints, as far as they are in the vocabulary.
DEMO_WORDS = ("list", "string", "file", "function", "float", "thread", "exception", "server", "time", "month")

# Tests, vendored packages and generated tables: little English, or not part of every installation.
_SKIPPED_DIRECTORIES = frozenset(
    [
        "__pycache__",
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idle_test",
        "lib2to3",
        "turtledemo",
        "ensurepip",
    ]
)
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n")
_WORD = re.compile(r"[a-z]+(?:[_'-][a-z]+)*")
_MIN_SENTENCE_WORDS = 3
# The corpus is small (0.3M words): rarer words would have vectors of little but chance.
_MIN_COUNT = 12
_TOPN = 6


def _topic_texts() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # left out by some minimal distributions of Python
        return
    for name in sorted(topics):
        yield topics[name]


def _source_files(library: Path) -> Iterator[Path]:
    """Python sources under `library` in sorted order, the directories named above left out."""
    try:
        entries = sorted(library.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix == ".py":
            yield entry
        elif entry.name not in _SKIPPED_DIRECTORIES and not entry.is_symlink() and entry.is_dir():
            yield from _source_files(entry)


def _docstrings(source: bytes) -> Iterator[str]:
    import ast
    import warnings

    with warnings.catch_warnings():  # invalid escapes in old sources are not the reader's business
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


def _library_texts(library: Path) -> Iterator[str]:
    for path in _source_files(library):
        try:
            source = path.read_bytes()
        except OSError:
            continue
        yield from _docstrings(source)


def _sentences(text: str) -> Iterator[list[str]]:
    for sentence in _SENTENCE_END.split(text.lower()):
        words = _WORD.findall(sentence)
        if len(words) >= _MIN_SENTENCE_WORDS:
            yield words


def demo_sentences(library: str | os.PathLike[str] | None = None) -> Iterator[list[str]]:
    """The demo's corpus as lists of lower-case words, in the same order every time.

    Parameters
    ----------
    library : str or os.PathLike, optional
        Where the standard library's sources are; None asks `sysconfig`. What cannot be read is passed over.

    Yields
    ------
    list of str
    """
    import itertools
    import sysconfig
    from pathlib import Path

    root = Path(sysconfig.get_path("stdlib") if library is None else library)
    for text in itertools.chain(_topic_texts(), _library_texts(root)):
        yield from _sentences(text)


def _print_neighbours(vectors: WordVectors, words: Iterable[str]) -> None:
    for word in words:
        if word in vectors:
            neighbours = ", ".join(near for near, _ in vectors.most_similar(word, topn=_TOPN))
            print(f"  {word:>10}: {neighbours}")


def run_demo(
    output: str | os.PathLike[str] = "fastembed-demo",
    *,
    epochs: int = 20,
    workers: int | None = None,
    memory_budget: int | None = None,
    progress: bool = True,
) -> WordVectors:
    """Train on the demo's corpus, print neighbours of a handful of words, save the vectors.

    Parameters
    ----------
    output : str or os.PathLike, default "fastembed-demo"
        The directory to write; it must be absent, empty, or a store.
    epochs : int, default 20
    workers : int, optional
        Threads; None takes all there are.
    memory_budget : int, optional
        Bytes of the encoded corpus held in memory; see `fastembed.train_word2vec`.
    progress : bool, default True

    Returns
    -------
    WordVectors

    Raises
    ------
    RuntimeError
        This Python installation carries neither the language reference nor its sources.
    OSError
        `output` cannot be written; checked before training.
    TypeError, ValueError
        `epochs`, `workers` or `memory_budget` is wrong: see `fastembed.train_word2vec`.
    """
    from pathlib import Path

    import fastembed
    from fastembed._storage import check_store_target
    from fastembed._validate import check_int

    check_store_target(output)
    epochs = check_int("epochs", epochs, 1)
    print("Reading the language reference and the docstrings of the standard library ...", flush=True)
    sentences = list(demo_sentences())
    if not sentences:
        raise RuntimeError("this Python installation has neither pydoc_data.topics nor the standard library's sources")
    n_words = sum(map(len, sentences))
    print(f"Training on {n_words:,} words in {len(sentences):,} sentences, {epochs} epochs.", flush=True)
    vectors: WordVectors = fastembed.train_word2vec(
        sentences,
        vector_size=100,
        epochs=epochs,
        min_count=_MIN_COUNT,
        workers=workers,
        memory_budget=memory_budget,
        progress=progress,
    )
    vectors.save(output)
    if sys.stderr is not None:
        sys.stderr.flush()  # the progress bar's last line comes before the neighbours
    print("Nearest words by cosine:")
    _print_neighbours(vectors, DEMO_WORDS)
    saved = Path(output).resolve()
    print(f"{len(vectors):,} vectors of {vectors.vector_size} numbers are in {saved}")
    print(f'Ask them: fastembed neighbors "{output}" exception')
    return vectors
