"""Training that starts from known vectors: `train_word2vec(..., init=...)`.

Holds what `init` may be, the vocabulary that it asks for, and the rows it gives to the trainer. Knows nothing of
checkpoints.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._validate import check_int
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastembed import _core
    from fastembed._corpus import EncodedCorpus

__all__ = ["Initial", "load_initial", "load_vectors"]

_DEFAULT_VECTOR_SIZE = 100
_BLOCK_ROWS = 4096
_GREATEST = {
    "float32": np.finfo(np.float32).max,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float16": np.finfo(np.float16).max,
}
_MAX_COUNT = 2**62  # so that the sum of two counts is an int64


def load_vectors(path: str | os.PathLike[str]) -> WordVectors:
    """Read vectors in any of our formats: a directory is a store, a file is word2vec text or binary.

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`.
    ValueError
        It is malformed.
    """
    if os.path.isdir(path):
        return WordVectors.load(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there are no vectors at {os.fspath(path)!r}: no such file or directory")
    return WordVectors.load_word2vec_format(path)


class Initial:
    """The vectors that a training starts from.

    Attributes
    ----------
    words : list of str
    counts : ndarray of int64, shape (n_words,)
        Zeros where `init` has none.
    """

    def __init__(self, vectors: WordVectors, precision: str) -> None:
        self._vectors = vectors
        self.words = vectors.index_to_key
        counts = vectors.counts
        self.counts = np.zeros(len(vectors), dtype=np.int64) if counts is None else np.asarray(counts)
        if len(vectors) and int(self.counts.max()) > _MAX_COUNT:
            raise ValueError(f"init has a count of {int(self.counts.max())}, at most {_MAX_COUNT} can be added to")
        for name in ("vectors", "output_vectors"):
            self._check_range(name, precision)

    def _check_range(self, name: str, precision: str) -> None:
        matrix = getattr(self._vectors, name)
        most = _GREATEST[precision]
        for begin in range(0, 0 if matrix is None else len(matrix), _BLOCK_ROWS):
            held = (np.abs(matrix[begin : begin + _BLOCK_ROWS]) <= most).all(axis=1)
            if not held.all():
                row = begin + int(np.argmin(held))
                finite = np.isfinite(matrix[row]).all()
                what = f"above {most}, the most that {precision} holds," if finite else "not finite"
                raise ValueError(f"init has a number that is {what} in its {name}, in the row of {self.words[row]!r}")

    @property
    def vector_size(self) -> int:
        return self._vectors.vector_size

    def fingerprint(self) -> dict[str, Any]:
        """What tells these vectors from others: sizes and checksums."""
        from fastembed._checkpoint import crc32_of

        joined = "\n".join(self.words).encode("utf-8", "surrogatepass")
        output_vectors = self._vectors.output_vectors
        return {
            "n_words": len(self.words),
            "vector_size": self.vector_size,
            "words_crc32": crc32_of(np.frombuffer(joined, dtype=np.uint8)),
            "counts_crc32": crc32_of(self.counts),
            "vectors_crc32": crc32_of(self._vectors.vectors),
            "output_vectors_crc32": None if output_vectors is None else crc32_of(output_vectors),
        }

    def rows_in(self, words: list[str]) -> npt.NDArray[np.int32]:
        """Where our words are in `words`, which holds them all."""
        ours = self._vectors.key_to_index
        rows = np.full(len(ours), -1, dtype=np.int32)
        for row, word in enumerate(words):
            index = ours.get(word)
            if index is not None:
                rows[index] = row
        return rows

    def corpus_counts(self, corpus: EncodedCorpus) -> npt.NDArray[np.int64]:
        """How often each word of `corpus`, whose counts include ours, occurs in it."""
        counts: npt.NDArray[np.int64] = corpus.counts.copy()
        counts[self.rows_in(corpus.words)] -= self.counts
        return counts

    def give(self, trainer: _core.Trainer, words: list[str]) -> None:
        """Set the rows of our words in `trainer`, whose words are `words`; the matrices are read in place."""
        output_vectors = self._vectors.output_vectors
        trainer.continue_from(
            self.rows_in(words),
            np.asarray(self._vectors.vectors),
            None if output_vectors is None else np.asarray(output_vectors),
        )


def load_initial(
    init: Any, vector_size: int | None, max_final_vocab: int | None, precision: str
) -> tuple[Initial | None, int]:
    """Check `init` and what depends on it.

    Parameters
    ----------
    init : WordVectors, path or None
    vector_size : int or None
        As given to `train_word2vec`.
    max_final_vocab : int or None
    precision : str

    Returns
    -------
    initial : Initial or None
    vector_size : int
        That of `init`, or the default.

    Raises
    ------
    TypeError
        `init` is none of these.
    ValueError
        `vector_size` or `max_final_vocab` disagree with `init`, or it holds numbers that are not finite, or beyond what
        `precision` can hold.
    """
    if init is None:
        return None, _DEFAULT_VECTOR_SIZE if vector_size is None else vector_size
    if isinstance(init, (str, os.PathLike)):
        init = load_vectors(init)
    if not isinstance(init, WordVectors):
        raise TypeError(f"init must be a WordVectors or the path of saved ones, got {type(init).__name__}")
    if vector_size is not None and check_int("vector_size", vector_size, 1, 65_536) != init.vector_size:
        raise ValueError(f"vector_size is {vector_size} but init has vectors of size {init.vector_size}")
    if max_final_vocab is not None and check_int("max_final_vocab", max_final_vocab, 1) < len(init):
        raise ValueError(f"max_final_vocab is {max_final_vocab} but init has {len(init)} words, and keeps them all")
    return Initial(init, precision), init.vector_size
