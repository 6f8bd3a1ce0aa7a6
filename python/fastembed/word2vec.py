"""Training word vectors: skip-gram and CBOW with negative sampling."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastembed import _core
from fastembed._config import default_workers
from fastembed._progress import TrainingProgress
from fastembed._validate import check_bool, check_choice, check_float, check_int
from fastembed.vectors import WordVectors

_log = logging.getLogger("fastembed")


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. ``vectors`` holds what had been learned when it came.

    Attributes
    ----------
    vectors : WordVectors
        The vectors as they were at the interruption.
    epochs_done : int
        Whole epochs that had been trained.
    """

    def __init__(self, vectors: WordVectors, epochs_done: int) -> None:
        super().__init__(f"training was interrupted after {epochs_done} whole epochs")
        self.vectors = vectors
        self.epochs_done = epochs_done


@dataclass
class TrainingState:
    """What callbacks are given: where training stands.

    Attributes
    ----------
    epoch : int
        The current epoch, from 0.
    epochs : int
        How many epochs will be trained.
    history : list of dict
        One record for each finished epoch: ``epoch``, ``loss`` (mean negative log-likelihood per positive pair, in
        nats), ``learning_rate`` (at its end), ``seconds``, ``words_per_second`` (raw words), ``positive_pairs``.
    snapshot : callable
        ``snapshot()`` returns a `WordVectors` copy of the vectors as they are now.
    """

    epoch: int
    epochs: int
    history: list[dict[str, Any]]
    snapshot: Callable[[], WordVectors]


class Callback:
    """Base class for callbacks: override what you need. An exception stops training cleanly and is raised."""

    def on_train_begin(self, state: TrainingState) -> None:
        """Run before the first epoch."""

    def on_epoch_begin(self, state: TrainingState) -> None:
        """Run before each epoch."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Run after each epoch; ``state.history[-1]`` is its record."""

    def on_train_end(self, state: TrainingState) -> None:
        """Run after the last epoch."""


@dataclass(frozen=True)
class _Options:
    """The checked arguments of `train_word2vec` that the trainer needs."""

    sg: bool
    vector_size: int
    window: int
    negative: int
    epochs: int
    sample: float
    alpha: float
    min_alpha: float
    cbow_mean: bool
    ns_exponent: float
    shrink_windows: bool
    max_sentence_length: int
    seed: int
    negative_sharing: str
    workers: int = field(default=1)

    @classmethod
    def check(cls, given: dict[str, Any]) -> _Options:
        """Check the arguments in `given`, by name."""
        alpha = check_float("alpha", given["alpha"], above=0.0)
        min_alpha = check_float("min_alpha", given["min_alpha"], 0.0)
        if min_alpha > alpha:
            raise ValueError(f"min_alpha must not exceed alpha, got min_alpha={min_alpha:g} and alpha={alpha:g}")
        return cls(
            sg=check_bool("sg", given["sg"]),
            vector_size=check_int("vector_size", given["vector_size"], 1, 65_536),
            window=check_int("window", given["window"], 1, 1_000),
            negative=check_int("negative", given["negative"], 1, 1_000),
            epochs=check_int("epochs", given["epochs"], 1, 1_000_000),
            sample=check_float("sample", given["sample"], 0.0),
            alpha=alpha,
            min_alpha=min_alpha,
            cbow_mean=check_bool("cbow_mean", given["cbow_mean"]),
            ns_exponent=check_float("ns_exponent", given["ns_exponent"]),
            shrink_windows=check_bool("shrink_windows", given["shrink_windows"]),
            max_sentence_length=check_int("max_sentence_length", given["max_sentence_length"], 2, 10_000_000),
            seed=check_int("seed", given["seed"], 0, 2**64 - 1),
            negative_sharing=check_choice("negative_sharing", given["negative_sharing"], ("tile", "window", "pair")),
            workers=default_workers(given["workers"]),
        )

    def config(self) -> dict[str, Any]:
        return dict(vars(self))


def _check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be fastembed.Callback objects, got {type(callback).__name__}")
    return checked


class _Training:
    """One call of `train_word2vec` after the corpus is encoded."""

    def __init__(self, corpus: Any, options: _Options, config: dict[str, Any]) -> None:
        self.corpus = corpus
        self.options = options
        self.config = config
        self.history: list[dict[str, Any]] = []
        self.trainer = _core.Trainer(
            ids=corpus.ids,
            offsets=corpus.offsets,
            counts=corpus.counts,
            vector_size=options.vector_size,
            sg=options.sg,
            negative_sharing=options.negative_sharing,
            cbow_mean=options.cbow_mean,
            shrink_windows=options.shrink_windows,
            window=options.window,
            negative=options.negative,
            epochs=options.epochs,
            alpha=options.alpha,
            min_alpha=options.min_alpha,
            sample=options.sample,
            ns_exponent=options.ns_exponent,
            seed=options.seed,
            max_sentence_length=options.max_sentence_length,
        )

    def word_vectors(self, *, take: bool) -> WordVectors:
        vectors, output_vectors = self.trainer.take_vectors() if take else self.trainer.copy_vectors()
        return WordVectors(
            vectors,
            self.corpus.words,
            counts=self.corpus.counts,
            output_vectors=output_vectors,
            history=list(self.history),
            config=self.config,
        )

    def run(self, callbacks: Sequence[Callback], *, progress: bool) -> WordVectors:
        options = self.options
        state = TrainingState(0, options.epochs, self.history, lambda: self.word_vectors(take=False))
        label = "skip-gram" if options.sg else "CBOW"
        bar = TrainingProgress(
            enabled=progress, label=label, epochs=options.epochs, words_per_epoch=len(self.corpus.ids)
        )
        try:
            with bar:
                for callback in callbacks:
                    callback.on_train_begin(state)
                for state.epoch in range(options.epochs):
                    for callback in callbacks:
                        callback.on_epoch_begin(state)
                    self._run_epoch(state.epoch, bar)
                    for callback in callbacks:
                        callback.on_epoch_end(state)
                for callback in callbacks:
                    callback.on_train_end(state)
        except BaseException as error:
            _core.retire_idle_threads()  # an error between epochs leaves no thread behind either
            if not isinstance(error, KeyboardInterrupt):
                raise
            raise TrainingInterrupted(self.word_vectors(take=True), len(self.history)) from error
        return self.word_vectors(take=True)

    def _run_epoch(self, epoch: int, bar: TrainingProgress) -> None:
        started = time.perf_counter()
        tick = (lambda progress: bar.update(epoch, progress)) if bar.enabled else None
        totals = self.trainer.run_epoch(epoch, self.options.workers, tick)
        seconds = time.perf_counter() - started
        bar.update(epoch, totals)
        pairs = totals["positive_count"]
        record = {
            "epoch": epoch,
            "loss": totals["loss"] / pairs if pairs else math.nan,
            "learning_rate": totals["learning_rate"],
            "seconds": seconds,
            "words_per_second": totals["token_count"] / seconds if seconds > 0 else math.inf,
            "positive_pairs": pairs,
        }
        self.history.append(record)
        _log.info(
            "epoch %d of %d: loss %.4f, %.0f words/s",
            epoch + 1,
            self.options.epochs,
            record["loss"],
            record["words_per_second"],
        )


def train_word2vec(
    corpus: Any,
    *,
    sg: bool = True,
    vector_size: int = 100,
    window: int = 5,
    negative: int = 5,
    epochs: int = 5,
    min_count: int = 5,
    sample: float = 1e-3,
    alpha: float = 0.025,
    min_alpha: float = 1e-4,
    cbow_mean: bool = True,
    ns_exponent: float = 0.75,
    shrink_windows: bool = True,
    max_final_vocab: int | None = None,
    max_vocab_size: int | None = None,
    max_sentence_length: int = 10_000,
    seed: int = 1,
    workers: int | None = None,
    negative_sharing: str = "window",
    errors: str = "strict",
    memory_budget: int | None = None,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
) -> WordVectors:
    """Train word vectors with negative sampling: **skip-gram by default**, CBOW with ``sg=False``.

    (gensim's and word2vec.c's default is CBOW.) Names and defaults of the other parameters are gensim's, their meaning
    is word2vec.c's.

    Parameters
    ----------
    corpus : path, list of paths, iterable of token lists, ``(ids, offsets)`` or string column
        A plain text file (one sentence a line, tokens separated by ASCII white space), also .gz, .bz2, .xz and .zst; a
        directory, a glob pattern or a list of paths; any iterable of lists of str, including a generator, which is
        iterated once; a pair of integer arrays, sentence s being ``ids[offsets[s]:offsets[s + 1]]``; an Arrow, pandas
        or polars column of strings.
    sg : bool
        True for skip-gram, False for CBOW.
    vector_size : int
        Dimension of the vectors.
    window : int
        Largest distance between a center and its context words.
    negative : int
        Negatives drawn for each positive, at least 1.
    epochs : int
        Passes over the corpus.
    min_count : int
        Words seen less often are dropped.
    sample : float
        Subsampling threshold for frequent words, as a fraction of all words; 0 keeps every word. A word of frequency f
        is kept with probability ``(sqrt(f / sample) + 1) * sample / f``.
    alpha, min_alpha : float
        The learning rate falls linearly with the raw words processed, from `alpha` to `min_alpha`.
    cbow_mean : bool
        CBOW only: average the context vectors rather than sum them.
    ns_exponent : float
        Negatives are drawn with probability proportional to ``count ** ns_exponent``.
    shrink_windows : bool
        Draw each center's window uniformly from 1..`window`, as word2vec.c does.
    max_final_vocab : int, optional
        Keep at most so many words, the most frequent ones.
    max_vocab_size : int, optional
        Bound on the distinct words held while counting, 40 million by default: beyond it the rarest are pruned, with a
        warning. A word takes 50 to 105 bytes in each worker that met it, plus its length when that is above 15 bytes.
    max_sentence_length : int
        Sentences with more words are cut into pieces of this length; nothing is dropped.
    seed : int
        Seed of all random draws, 0 to 2**64 - 1. With ``workers=1`` the result is bit-reproducible on one instruction
        set.
    workers : int, optional
        Threads. None: `fastembed.set_num_threads`, else ``FASTEMBED_NUM_THREADS``, else the cores the process may use.
    negative_sharing : {"window", "pair"}
        "window": the context words of one center share its negatives, picked from a pool of 256 words that is drawn
        afresh every 512 words of text, and the window is one batch step: equal quality, several times faster. "pair":
        fresh negatives and a step of its own for every pair (CBOW: for every center), word2vec.c's algorithm.
    errors : {"strict", "replace", "ignore"}
        What to do about invalid UTF-8 in files.
    memory_budget : int, optional
        Bytes of the encoded corpus (4 a word) held in memory; beyond it a temporary file is used, which nothing can
        leave behind. A quarter of the memory by default.
    progress : bool
        Show a progress bar on stderr.
    callbacks : iterable of Callback
        Called at the begin and end of training and of each epoch.

    Returns
    -------
    WordVectors
        Words sorted by count, most frequent first. ``history`` has one record an epoch with the mean negative
        log-likelihood per positive pair, accumulated in float64.

    Raises
    ------
    TypeError
        If an argument has the wrong type, for example a list of plain strings as the corpus.
    ValueError
        If an argument is out of range, the corpus is empty, or fewer than 2 words remain.
    FileNotFoundError
        If a path does not exist.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt), within 0.2 s; its ``vectors`` hold what had been learned.

    Notes
    -----
    For a center with context words c and targets t (the center itself, label 1, and the negatives, label 0), with
    ``x = <in_c, out_t>`` and ``g = alpha * (label - sigmoid(x))``: ``in_c += sum_t g out_t`` and
    ``out_t += sum_c g in_c`` [1]_, equation 4. A negative equal to the center is skipped. Training costs about
    ``6 * (window + 1) * (negative + 1) * vector_size`` floating-point operations for each word kept. Workers update
    the shared vectors without locks [2]_, so several workers are not bit-reproducible.

    References
    ----------
    .. [1] T. Mikolov, I. Sutskever, K. Chen, G. Corrado and J. Dean, "Distributed representations of words and phrases
       and their compositionality", NIPS 2013.
    .. [2] F. Niu, B. Recht, C. Re and S. Wright, "Hogwild!: A lock-free approach to parallelizing stochastic gradient
       descent", NIPS 2011.

    Examples
    --------
    >>> import fastembed
    >>> sentences = [["red", "green", "blue"], ["one", "two", "three"]] * 50
    >>> wv = fastembed.train_word2vec(sentences, vector_size=16, workers=1, progress=False)
    >>> wv.vectors.shape
    (6, 16)
    """
    options = _Options.check(locals())
    progress = check_bool("progress", progress)
    checked_callbacks = _check_callbacks(callbacks)

    from fastembed._corpus import encode_corpus

    encoded = encode_corpus(
        corpus,
        min_count=min_count,
        max_final_vocab=max_final_vocab,
        max_vocab_size=max_vocab_size,
        workers=options.workers,
        errors=errors,
        memory_budget=memory_budget,
        progress=progress,
    )
    _log.info(
        "training %s (%s) on %d words of %d kinds with %d workers on %s",
        "skip-gram" if options.sg else "CBOW (asked for by sg=False)",
        "negatives shared per window" if options.negative_sharing == "window" else "fresh negatives per pair",
        len(encoded.ids),
        len(encoded.words),
        options.workers,
        _core.active_isa(),
    )
    config = {**options.config(), "min_count": min_count, "max_final_vocab": max_final_vocab}
    return _Training(encoded, options, config).run(checked_callbacks, progress=progress)
