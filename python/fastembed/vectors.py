"""`WordVectors`: what training returns, and every question one can ask of it.

Holds the vocabulary, the matrices and the queries over them. File formats live in _storage.py and _word2vec_format.py,
benchmarks of quality in _evaluation.py; they are imported when called, to keep ``import fastembed`` fast.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._vectors_checks import check_counts, check_matrix, check_words

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from fastembed._evaluation import AnalogyResult, WordPairsResult

    Float32Array = npt.NDArray[np.float32]
    #: A word, or a vector of shape (vector_size,).
    Key = str | npt.NDArray[Any]
    #: Keys, each bare or with a weight.
    Keys = Key | tuple[Key, float] | Iterable[Key | tuple[Key, float]]

__all__ = ["WordVectors"]

_NORM_BLOCK_ROWS = 4096
_MAX_WORDS_NAMED = 5


def _is_weighted(item: object) -> bool:
    """Tell a (key, weight) pair from a tuple of two keys."""
    return (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], (str, np.ndarray))
        and isinstance(item[1], numbers.Real)
    )


def _as_items(keys: Any) -> list[Any]:
    if keys is None:
        return []
    if isinstance(keys, str) or _is_weighted(keys) or (isinstance(keys, np.ndarray) and keys.dtype.kind in "fiu"):
        return list(keys) if isinstance(keys, np.ndarray) and keys.ndim > 1 else [keys]
    return list(keys)


def _top_indices(scores: Float32Array, count: int) -> npt.NDArray[np.intp]:
    """Indices of the `count` greatest scores, greatest first, equal scores by index, NaN last."""
    descending = -scores
    if count >= scores.size:
        return np.argsort(descending, kind="stable")
    threshold = np.partition(descending, count - 1)[count - 1]
    candidates = np.flatnonzero(descending <= threshold)
    if candidates.size < count:  # the threshold is NaN: fewer than `count` numbers are comparable
        return np.argsort(descending, kind="stable")[:count]
    order = np.argsort(descending[candidates], kind="stable")[:count]
    return candidates[order]


def _unit(vector: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`vector` in float64 at length one; a zero vector stays zero."""
    wide = np.asarray(vector, dtype=np.float64)
    norm = float(np.sqrt(wide @ wide))
    with np.errstate(invalid="ignore"):  # an infinite vector has no direction: NaN
        return wide / norm if norm > 0.0 else wide


class WordVectors:
    """Words and their vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_words, vector_size)
        One row a word. Held without a copy when it is float32 and C-contiguous (a memory map stays one); other floating
        dtypes are converted. The caller must not change it afterwards.
    index_to_key : sequence of str, length n_words
        The word of each row, without repetition; by convention the most frequent first.
    counts : ndarray of int64, shape (n_words,), optional
        How often each word occurs in the corpus.
    output_vectors : ndarray of float32, shape (n_words, vector_size), optional
        The second matrix of negative sampling (``syn1neg`` of word2vec.c).
    history : iterable of dict, optional
        One record an epoch, e.g. ``{"epoch": 0, "loss": 2.1, "words_per_second": 4.2e6, "learning_rate": 0.02}``. JSON
        serialisable.
    config : dict, optional
        The parameters of the training. JSON serialisable.

    Attributes
    ----------
    vectors, output_vectors, counts
        As above, read-only: write to a copy.
    index_to_key : list of str
        The word of each row. Not to be changed.
    key_to_index : dict of str to int
        The row of each word. Not to be changed.
    history : list of dict
    config : dict

    Raises
    ------
    TypeError
        `vectors` is not floating point, `counts` not integer, or a word not a str.
    ValueError
        The shapes disagree, a word occurs twice, a count is negative or not below 2**63, or a finite number is beyond
        the range of float32. (Infinity and NaN are taken.)

    Notes
    -----
    The first cosine query computes the norms of all rows and keeps them: 4 bytes a word; no normalised matrix is
    made. All methods may be called from many threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> wv = WordVectors(np.eye(3, dtype=np.float32), ["north", "east", "up"])
    >>> "east" in wv, len(wv), wv.vector_size
    (True, 3, 3)
    >>> wv.similarity("north", "east")
    0.0
    """

    vectors: Float32Array
    index_to_key: list[str]
    key_to_index: dict[str, int]
    counts: npt.NDArray[np.int64] | None
    output_vectors: Float32Array | None
    history: list[dict[str, Any]]
    config: dict[str, Any]

    def __init__(
        self,
        vectors: npt.ArrayLike,
        index_to_key: Iterable[str],
        *,
        counts: npt.ArrayLike | None = None,
        output_vectors: npt.ArrayLike | None = None,
        history: Iterable[Mapping[str, Any]] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.vectors = check_matrix(vectors, "vectors")
        self.index_to_key, self.key_to_index = check_words(index_to_key)
        n_words = len(self.index_to_key)
        if self.vectors.shape[0] != n_words:
            raise ValueError(f"vectors has {self.vectors.shape[0]} rows but index_to_key has {n_words} words")
        self.counts = check_counts(counts, n_words)
        self.output_vectors = None if output_vectors is None else check_matrix(output_vectors, "output_vectors")
        if self.output_vectors is not None and self.output_vectors.shape != self.vectors.shape:
            raise ValueError(
                f"output_vectors has shape {self.output_vectors.shape} but vectors has shape {self.vectors.shape}"
            )
        self.history = [dict(record) for record in history]
        self.config = dict(config or {})
        self._set_derived()

    def _set_derived(self) -> None:
        # Plain ndarray views: indexing a numpy.memmap costs a microsecond of subclass bookkeeping a row.
        self._rows: Float32Array = np.asarray(self.vectors)
        self._norms: Float32Array | None = None

    # The vocabulary

    @property
    def vector_size(self) -> int:
        """Number of columns of `vectors`."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.index_to_key)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word in self.key_to_index

    def __repr__(self) -> str:
        extras = [name for name in ("counts", "output_vectors") if getattr(self, name) is not None]
        with_extras = f" with {' and '.join(extras)}" if extras else ""
        return f"<WordVectors: {len(self):,} words x {self.vector_size} float32{with_extras}>"

    def __getitem__(self, key: str | Sequence[str]) -> Float32Array:
        """Vector of a word, or the matrix of a list of words.

        Parameters
        ----------
        key : str, or sequence of str

        Returns
        -------
        ndarray of float32, shape (vector_size,) or (len(key), vector_size)
            For one word a read-only view, for several a new C-contiguous array.

        Raises
        ------
        KeyError
            A word is not in the vocabulary.
        TypeError
            `key` is neither a str nor a sequence of str.
        """
        if isinstance(key, str):
            row: Float32Array = self._rows[self._index(key)]
            return row
        return self._rows[self._indices(key)]

    def get(self, word: str, default: Any = None) -> Any:
        """Vector of `word` as `wv[word]` gives it, or `default` if the word is not in the vocabulary."""
        index = self.key_to_index.get(word)
        return default if index is None else self._rows[index]

    def _index(self, word: str) -> int:
        index = self.key_to_index.get(word)
        if index is None:
            raise KeyError(self._missing_message([word], 1))
        return index

    def _indices(self, words: Iterable[str]) -> npt.NDArray[np.intp]:
        if isinstance(words, (bytes, numbers.Number)) or not hasattr(words, "__iter__"):
            raise TypeError(
                f"a word (str) or a sequence of words was wanted, got {type(words).__name__}; rows are wv.vectors[i]"
            )
        listed = list(words)
        for position, word in enumerate(listed):
            if not isinstance(word, str):
                raise TypeError(f"the words must be str, got {type(word).__name__} at position {position}")
        found = [self.key_to_index.get(word, -1) for word in listed]
        if -1 in found:
            missing = [word for word, index in zip(listed, found, strict=True) if index < 0]
            raise KeyError(self._missing_message(missing, len(listed)))
        return np.asarray(found, dtype=np.intp)

    def _missing_message(self, missing: list[str], asked: int) -> str:
        size = f"the vocabulary of {len(self):,} words"
        if asked == 1:
            word = missing[0]
            variants = [variant for variant in (word.lower(), word.capitalize(), word.upper()) if variant in self]
            return f"{word!r} is not in {size}" + (f"; {variants[0]!r} is" if variants else "")
        named = ", ".join(repr(word) for word in missing[:_MAX_WORDS_NAMED])
        more = f" and {len(missing) - _MAX_WORDS_NAMED} more" if len(missing) > _MAX_WORDS_NAMED else ""
        return f"{len(missing)} of the {asked} words are not in {size}: {named}{more}"

    # Similarity

    def _row_norms(self) -> Float32Array:
        """Euclidean lengths of the rows, with 1 in place of 0 so that a zero row's cosine comes out as 0."""
        norms = self._norms
        if norms is None:
            squares = np.empty(len(self), dtype=np.float64)
            for start in range(0, len(self), _NORM_BLOCK_ROWS):
                block = self._rows[start : start + _NORM_BLOCK_ROWS].astype(np.float64)
                squares[start : start + _NORM_BLOCK_ROWS] = np.einsum("ij,ij->i", block, block)
            wide = np.sqrt(squares)
            # A norm beyond float32 is clipped; an infinite row keeps its infinite norm, so that it scores NaN.
            wide[np.isfinite(wide)] = np.minimum(wide[np.isfinite(wide)], np.finfo(np.float32).max)
            wide[wide == 0.0] = 1.0
            norms = wide.astype(np.float32)
            # Threads that race here compute the same array; the last assignment wins and nothing is torn.
            self._norms = norms
        return norms

    def _vector(self, key: Key) -> npt.NDArray[Any]:
        if isinstance(key, str):
            row: Float32Array = self._rows[self._index(key)]
            return row
        vector: npt.NDArray[Any] = np.asarray(key)
        if vector.dtype.kind not in "fiu":
            raise TypeError(f"a word or a vector of numbers was wanted, got {type(key).__name__} ({vector.dtype})")
        if vector.shape != (self.vector_size,):
            raise ValueError(f"a vector of shape ({self.vector_size},) was wanted, got shape {vector.shape}")
        return vector

    def similarity(self, a: Key, b: Key) -> float:
        """Cosine of the angle between two words.

        Parameters
        ----------
        a, b : str, or ndarray of shape (vector_size,)

        Returns
        -------
        float
            In [-1, 1], computed in float64; 0 if a vector is zero.

        Raises
        ------
        KeyError
            A word is not in the vocabulary.
        """
        return float(np.clip(_unit(self._vector(a)) @ _unit(self._vector(b)), -1.0, 1.0))

    def _scores(self, query: npt.NDArray[np.float64], rows: int) -> Float32Array:
        with np.errstate(invalid="ignore", over="ignore"):  # rows with NaN or infinity score NaN and rank last
            scores: Float32Array = self._rows[:rows] @ _unit(query).astype(np.float32)
            scores /= self._row_norms()[:rows]
        return scores

    def _nearest(
        self, query: npt.NDArray[np.float64], excluded: set[int], topn: int, restrict_vocab: int | None
    ) -> list[tuple[str, float]]:
        for name, value in (("topn", topn), ("restrict_vocab", restrict_vocab)):
            if value is None and name == "restrict_vocab":
                continue
            if not isinstance(value, numbers.Integral) or isinstance(value, bool):
                raise TypeError(f"{name} must be an int, got {type(value).__name__}")
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        rows = len(self) if restrict_vocab is None else min(restrict_vocab, len(self))
        wanted = min(topn, rows)
        if wanted == 0:
            return []
        scores = self._scores(query, rows)
        best = _top_indices(scores, min(wanted + len(excluded), rows))
        kept = [int(index) for index in best if int(index) not in excluded][:wanted]
        return [(self.index_to_key[index], float(scores[index])) for index in kept]

    def most_similar(
        self, positive: Keys = (), negative: Keys = (), topn: int = 10, *, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """Words nearest by cosine to the mean of the given ones.

        Parameters
        ----------
        positive, negative : str, ndarray, (key, weight) pair, or iterable of these
            What counts towards the query and what against it. Words contribute their unit vectors; arrays contribute
            as they are. A weight replaces the +1 of a positive and the -1 of a negative key (so write a negative
            number to subtract).
        topn : int, default 10
            How many neighbours; clipped to what the vocabulary has.
        restrict_vocab : int, optional
            Search the first `restrict_vocab` words only.

        Returns
        -------
        list of (str, float)
            Words and cosines, nearest first; equal cosines by index. The words given in the query are left out.

        Raises
        ------
        KeyError
            A word is not in the vocabulary.
        TypeError
            A key is neither a str nor an array of numbers.
        ValueError
            No key is given, `topn` is negative, or a vector has the wrong shape.

        Notes
        -----
        One pass over the matrix: O(n_words * vector_size). With one positive word the answer is that word's neighbours;
        with ``positive=[b, c], negative=[a]`` it solves a : b = c : ? (3CosAdd).

        References
        ----------
        Levy and Goldberg, "Linguistic Regularities in Sparse and Explicit Word Representations", CoNLL 2014, eq. (2).

        Examples
        --------
        >>> import numpy as np
        >>> table = np.asarray([[1, 0], [3, 1], [0, 1]], dtype=np.float32)
        >>> wv = WordVectors(table, ["cat", "kitten", "car"])
        >>> [(word, round(cosine, 3)) for word, cosine in wv.most_similar("cat")]
        [('kitten', 0.949), ('car', 0.0)]
        """
        signed = [(item, 1.0) for item in _as_items(positive)] + [(item, -1.0) for item in _as_items(negative)]
        if not signed:
            raise ValueError("most_similar needs at least one word or vector in positive or negative")
        query = np.zeros(self.vector_size, dtype=np.float64)
        excluded: set[int] = set()
        for item, sign in signed:
            key, weight = (item[0], float(item[1])) if _is_weighted(item) else (item, sign)
            vector = self._vector(key)
            query += weight * (_unit(vector) if isinstance(key, str) else np.asarray(vector, dtype=np.float64))
            if isinstance(key, str):
                excluded.add(self.key_to_index[key])
        return self._nearest(query, excluded, topn, restrict_vocab)

    def similar_by_vector(
        self, vector: npt.ArrayLike, topn: int = 10, *, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """Words nearest by cosine to `vector`, of shape (vector_size,), none left out; see `most_similar`."""
        query = np.asarray(self._vector(np.asarray(vector)), dtype=np.float64)
        return self._nearest(query, set(), topn, restrict_vocab)

    def doesnt_match(self, words: Iterable[str]) -> str:
        """The word farthest by cosine from the mean of the unit vectors of `words`; the first of equals.

        Raises
        ------
        KeyError
            A word is not in the vocabulary.
        ValueError
            `words` is empty.
        """
        if isinstance(words, str):
            raise TypeError("words must be a sequence of words, got one str")
        listed = list(words)
        if not listed:
            raise ValueError("words must hold at least one word, got none")
        units = np.stack([_unit(self._rows[index]) for index in self._indices(listed)])
        return listed[int(np.argmin(units @ _unit(units.mean(axis=0))))]

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to the directory `path`; see `fastembed._storage.save_store` for layout and safety."""
        from fastembed._storage import save_store

        save_store(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = True) -> WordVectors:
        """Read what `save` wrote, the matrices mapped if `mmap`; see `fastembed._storage.load_store`."""
        from fastembed._storage import load_store

        return load_store(path, mmap=mmap)

    def save_word2vec_format(self, path: str | os.PathLike[str], binary: bool = False) -> None:
        """Write the text or binary format of word2vec.c; see `fastembed._word2vec_format.save_word2vec_format`."""
        from fastembed._word2vec_format import save_word2vec_format

        save_word2vec_format(path, self, binary=binary)

    @classmethod
    def load_word2vec_format(
        cls,
        path: str | os.PathLike[str],
        binary: bool | None = None,
        limit: int | None = None,
        errors: str = "strict",
    ) -> WordVectors:
        """Read the text or binary format of word2vec.c; see `fastembed._word2vec_format.load_word2vec_format`."""
        from fastembed._word2vec_format import load_word2vec_format

        return load_word2vec_format(path, binary=binary, limit=limit, errors=errors)

    # Quality

    def evaluate_word_pairs(
        self, path: str | os.PathLike[str], *, case_insensitive: bool = True, restrict_vocab: int | None = 300_000
    ) -> WordPairsResult:
        """Correlate cosines with human scores; see `fastembed._evaluation.evaluate_word_pairs`."""
        from fastembed._evaluation import evaluate_word_pairs

        return evaluate_word_pairs(self, path, case_insensitive=case_insensitive, restrict_vocab=restrict_vocab)

    def evaluate_analogies(
        self, path: str | os.PathLike[str], *, restrict_vocab: int | None = 300_000, case_insensitive: bool = True
    ) -> AnalogyResult:
        """Solve a : b = c : ? by 3CosAdd; see `fastembed._evaluation.evaluate_analogies`."""
        from fastembed._evaluation import evaluate_analogies

        return evaluate_analogies(self, path, restrict_vocab=restrict_vocab, case_insensitive=case_insensitive)

    # Pickling

    def __getstate__(self) -> dict[str, Any]:
        # A pickled numpy.memmap would come back as a memmap without a file: pickle plain arrays.
        def plain(array: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
            return None if array is None else np.asarray(array)

        return {
            "vectors": plain(self.vectors),
            "index_to_key": self.index_to_key,
            "counts": plain(self.counts),
            "output_vectors": plain(self.output_vectors),
            "history": self.history,
            "config": self.config,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        WordVectors.__init__(self, state.pop("vectors"), state.pop("index_to_key"), **state)
