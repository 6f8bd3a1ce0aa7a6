"""Training word vectors: skip-gram and CBOW with negative sampling."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastembed import _core
from fastembed._callbacks import Callback, TrainingInterrupted, TrainingState, check_callbacks
from fastembed._config import default_workers
from fastembed._continue import Initial, load_initial
from fastembed._progress import Progress, TrainingProgress
from fastembed._validate import check_bool, check_choice, check_float, check_int
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    import os

    from fastembed._checkpoint import Checkpoint
    from fastembed._corpus import EncodedCorpus

_log = logging.getLogger("fastembed")

#: The first learning rate of skip-gram and of CBOW. docs/training.md has the measurements.
_SKIP_GRAM_ALPHA, _CBOW_ALPHA = 0.025, 0.05


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
    precision: str
    deterministic: bool
    workers: int = field(default=1)

    @classmethod
    def check(cls, given: dict[str, Any]) -> _Options:
        """Check the arguments in `given`, by name."""
        sg = check_bool("sg", given["sg"])
        usual_alpha = _SKIP_GRAM_ALPHA if sg else _CBOW_ALPHA
        alpha = usual_alpha if given["alpha"] is None else check_float("alpha", given["alpha"], high=1e38, above=0.0)
        min_alpha = check_float("min_alpha", given["min_alpha"], 0.0)
        if min_alpha > alpha:
            raise ValueError(f"min_alpha must not exceed alpha, got min_alpha={min_alpha:g} and alpha={alpha:g}")
        negative_sharing = check_choice("negative_sharing", given["negative_sharing"], ("tile", "window", "pair"))
        precision = check_choice("precision", given["precision"], ("float32", "bfloat16", "float16"))
        if precision != "float32" and negative_sharing != "tile":
            raise ValueError(
                f"precision={precision!r} needs negative_sharing='tile', got negative_sharing={negative_sharing!r}"
            )
        return cls(
            sg=sg,
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
            negative_sharing=negative_sharing,
            precision=precision,
            deterministic=check_bool("deterministic", given["deterministic"]),
            workers=default_workers(given["workers"]),
        )

    def config(self) -> dict[str, Any]:
        return dict(vars(self))


class _Training:
    """One call of `train_word2vec` after the corpus is encoded."""

    def __init__(
        self,
        corpus: EncodedCorpus,
        options: _Options,
        config: dict[str, Any],
        initial: Initial | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.corpus = corpus
        self.options = options
        self.config = config
        self.checkpoint = checkpoint
        self.progress = Progress([])
        self.trainer = _core.Trainer(
            ids=corpus.ids,
            offsets=corpus.offsets,
            counts=corpus.counts,
            vector_size=options.vector_size,
            sg=options.sg,
            negative_sharing=options.negative_sharing,
            precision=options.precision,
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
            deterministic=options.deterministic,
            corpus_counts=None if initial is None else initial.corpus_counts(corpus),
        )
        if checkpoint is not None:
            checkpoint.bind(corpus, initial, options.vector_size)
        _announce(options, corpus)
        if checkpoint is not None and checkpoint.exists:
            self.progress = checkpoint.restore(self.trainer, corpus)
        elif initial is not None:
            initial.give(self.trainer, corpus.words)
        self.history = self.progress.history
        _warn_of_idle_workers(options, self.trainer)

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
        first, position = self.progress.place
        n_words = len(self.corpus.ids)
        state = TrainingState(
            min(first, options.epochs - 1), options.epochs, self.history, lambda: self.word_vectors(take=False)
        )
        bar = TrainingProgress(
            enabled=progress,
            label="skip-gram" if options.sg else "CBOW",
            epochs=options.epochs,
            words_per_epoch=n_words,
            done=first * n_words + position,
        )
        try:
            with bar:
                for callback in callbacks:
                    callback.on_train_begin(state)
                for state.epoch in range(first, options.epochs):
                    for callback in callbacks:
                        callback.on_epoch_begin(state)
                    self._run_epoch(state.epoch, bar)
                    for callback in callbacks:
                        callback.on_epoch_end(state)
                for callback in callbacks:
                    callback.on_train_end(state)
        except BaseException as error:
            _core.retire_idle_threads()  # an error between epochs leaves no thread behind either
            checkpoint = self._write_last_checkpoint()
            if not isinstance(error, KeyboardInterrupt):
                raise
            raise TrainingInterrupted(self.word_vectors(take=True), len(self.history), checkpoint) from error
        return self.word_vectors(take=True)

    def _write_checkpoint(self) -> None:
        if self.checkpoint is not None:
            content = {"counts": self.corpus.counts, "config": self.config}
            self.checkpoint.write_if_due(self.trainer, self.corpus.words, content, self.progress)

    def _write_last_checkpoint(self) -> str | None:
        """Keep what has been trained since the last checkpoint, if the workers stopped between chunks of text."""
        if self.checkpoint is None:
            return None
        # The trainer itself knows where its vectors are, whatever this class had the time to note.
        point = self.trainer.pause_point
        if point is not None:
            totals = point if point["epoch"] == len(self.history) else None
            content = {"counts": self.corpus.counts, "config": self.config}
            at = Progress(self.history, totals, self.progress.seconds)
            self.checkpoint.write_last(self.trainer, self.corpus.words, content, at)
        return self.checkpoint.path if self.checkpoint.exists else None

    def _run_parts(self, epoch: int, tick: Callable[[_core.EpochProgress], None] | None) -> _core.EpochProgress:
        """Train what is left of an epoch, with pauses for checkpoints."""
        progress = self.progress
        while True:
            started = time.perf_counter()
            seconds = None if self.checkpoint is None else max(0.0, self.checkpoint.seconds_left())
            try:
                totals = self.trainer.run_epoch(epoch, self.options.workers, tick, progress.totals, seconds)
            finally:
                progress.seconds += time.perf_counter() - started
            if totals["token_count"] == len(self.corpus.ids):
                return totals
            progress.totals = totals
            self._write_checkpoint()

    def _run_epoch(self, epoch: int, bar: TrainingProgress) -> None:
        tick = (lambda progress: bar.update(epoch, progress)) if bar.enabled else None
        totals = self._run_parts(epoch, tick)
        seconds = self.progress.seconds
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
        # Four times the loss of vectors of zeros, log(2) a target, is no learning any more; nor is NaN.
        if pairs and not record["loss"] < 4 * math.log(2) * (1 + self.options.negative):
            _log.warning("training has diverged in epoch %d: a smaller alpha may help, or a smaller sample", epoch + 1)
        self.progress.totals, self.progress.seconds = None, 0.0
        _log.info(
            "epoch %d of %d: loss %.4f, %.0f words/s",
            epoch + 1,
            self.options.epochs,
            record["loss"],
            record["words_per_second"],
        )
        self._write_checkpoint()


def _warn_of_idle_workers(options: _Options, trainer: _core.Trainer) -> None:
    if options.deterministic and options.negative_sharing != "tile" and options.workers > 1:
        _log.warning(
            "deterministic=True with negative_sharing=%r trains with one worker: the others of the %d have no work",
            options.negative_sharing,
            options.workers,
        )
    elif 0 < trainer.round_tiles < options.workers:
        _log.warning(
            "deterministic=True takes %d tiles at a time here: no more than so many of the %d workers have work",
            trainer.round_tiles,
            options.workers,
        )
    elif not options.deterministic and 0 < trainer.most_workers < options.workers:
        _log.warning(
            "so few words make up this text that %d of the %d workers train: more would diverge together",
            trainer.most_workers,
            options.workers,
        )


def _announce(options: _Options, encoded: EncodedCorpus) -> None:
    _log.info(
        "training %s (%s) on %d words of %d kinds with %d workers on %s",
        "skip-gram" if options.sg else "CBOW (asked for by sg=False)",
        f"negatives by {options.negative_sharing}",
        len(encoded.ids),
        len(encoded.words),
        options.workers,
        _core.active_isa(),
    )


def train_word2vec(
    corpus: Any,
    *,
    sg: bool = True,
    vector_size: int | None = None,
    window: int = 5,
    negative: int = 5,
    epochs: int = 5,
    min_count: int = 5,
    sample: float = 1e-3,
    alpha: float | None = None,
    min_alpha: float = 1e-4,
    cbow_mean: bool = True,
    ns_exponent: float = 0.75,
    shrink_windows: bool = True,
    max_final_vocab: int | None = None,
    max_vocab_size: int | None = None,
    max_sentence_length: int = 10_000,
    seed: int = 1,
    workers: int | None = None,
    negative_sharing: str = "tile",
    precision: str = "float32",
    deterministic: bool = False,
    errors: str = "strict",
    memory_budget: int | None = None,
    init: WordVectors | str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: str | float = "epoch",
    resume: bool = False,
    progress: bool = True,
    callbacks: Iterable[Callback] = (),
) -> WordVectors:
    """Train word vectors with negative sampling: **skip-gram by default**, CBOW with ``sg=False``.

    (gensim's and word2vec.c's default is CBOW.) Names and defaults of the other parameters are gensim's, but for the
    `alpha` of CBOW; their meaning is word2vec.c's.

    Parameters
    ----------
    corpus : path, list of paths, iterable of token lists, ``(ids, offsets)`` or string column
        A plain text file (one sentence a line, tokens separated by ASCII white space), also .gz, .bz2, .xz and .zst; a
        directory, a glob pattern or a list of paths; any iterable of lists of str, including a generator, which is
        iterated once; a pair of integer arrays, sentence s being ``ids[offsets[s]:offsets[s + 1]]``; an Arrow, pandas
        or polars column of strings.
    sg : bool
        True for skip-gram, False for CBOW.
    vector_size : int, optional
        Dimension of the vectors. None: that of `init`, else 100.
    window : int
        Largest distance between a center and its context words.
    negative : int
        Negatives drawn for each positive, at least 1.
    epochs : int
        Passes over the corpus.
    min_count : int
        Words seen less often are dropped, unless they are in `init`.
    sample : float
        Subsampling threshold for frequent words, as a fraction of all words; 0 keeps every word. A word of frequency f
        is kept with probability ``(sqrt(f / sample) + 1) * sample / f``.
    alpha : float, optional
        The first learning rate. None: 0.025, with CBOW 0.05, as in word2vec.c; gensim starts CBOW at 0.025 too.
    min_alpha : float
        The learning rate falls linearly with the raw words processed, from `alpha` to this.
    cbow_mean : bool
        CBOW only: average the context vectors rather than sum them.
    ns_exponent : float
        Negatives are drawn with probability proportional to ``count ** ns_exponent``.
    shrink_windows : bool
        Draw each center's window uniformly from 1..`window`, as word2vec.c does.
    max_final_vocab : int, optional
        Keep at most so many words, the most frequent ones; the words of `init` come first and all stay.
    max_vocab_size : int, optional
        Bound on the distinct words held while counting, 40 million by default: beyond it the rarest are pruned, with a
        warning. A word takes 50 to 105 bytes in each worker that met it, plus its length when that is above 15 bytes.
    max_sentence_length : int
        Sentences with more words are cut into pieces of this length; nothing is dropped.
    seed : int
        Seed of all random draws, 0 to 2**64 - 1. With ``workers=1``, or with ``deterministic=True`` and any number, the
        result is bit-reproducible on one instruction set.
    workers : int, optional
        Threads. None: `fastembed.set_num_threads`, else ``FASTEMBED_NUM_THREADS``, else the cores the process may use.
        Where a few words (some dozen) make up the text, fewer train by tiles, with a warning: more would diverge.
    negative_sharing : {"tile", "window", "pair"}
        Who shares negatives, and how much text is one batch step. "tile": the 64 positions of a tile of text share
        fresh negatives, about as many as a position draws with "pair" (skip-gram: ``negative * (window + 1)``, rounded
        up to a multiple of 16; CBOW: four groups of `negative` each, at least 8, or 12 with bfloat16 rows, of which
        neighbouring centers meet different ones), weighted so that each pair expects `negative` of them; all pairs of
        the tile are one step. The step of a word that dominates its tile is held back (see Notes).
        "window": the context words of one center share its negatives, picked from a pool of 256 words that is drawn
        afresh every 512 words of text; a window is one step. "pair": fresh negatives and a step of its own for every
        pair (CBOW: for every center), word2vec.c's algorithm. Expected gradients are the same and the quality of the
        three measures equal; their speed is several-fold apart.
    precision : {"float32", "bfloat16", "float16"}
        How "tile" stores the vectors while training. The 16-bit formats halve their memory and are rounded
        stochastically; the result is float32 always.
    deterministic : bool
        The same bits for the same seed whatever `workers` is, in the vectors and in the history's losses. "tile" shares
        the work out; "window" and "pair" train with one worker. See Notes for what it costs.
    errors : {"strict", "replace", "ignore"}
        What to do about invalid UTF-8 in files.
    memory_budget : int, optional
        Bytes of the encoded corpus (4 a word) held in memory; beyond it a temporary file is used, which nothing can
        leave behind. A quarter of the memory by default.
    init : WordVectors or path, optional
        Vectors to go on from (a path: saved ones in any of our formats). All of its words are kept and start from its
        ``vectors`` and ``output_vectors`` (zeros where it has none); words new in `corpus` are added with the usual
        initial values. `init` itself is not changed. See Notes.
    checkpoint : path, optional
        A directory for checkpoints. Each holds all that is needed to go on, and loads with `WordVectors.load`. It is
        replaced in one step: whatever happens (kill -9 too), the last whole one is there. After training it stays.
    checkpoint_every : "epoch" or float
        Write one after every epoch, or every so many minutes. One is also written at the end, and on Ctrl-C.
    resume : bool
        Go on from the checkpoint if there is one, else start anew. The corpus and all arguments that the result depends
        on must be the same. With ``workers=1``, or with ``deterministic=True`` and any number of workers before and
        after, the result has the same bits as that of an unbroken run, and so has the history but for its times.
        Without ``resume=True`` an existing checkpoint is an error: none is overwritten.
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
        If an argument is out of range, the corpus is empty, or fewer than 2 words remain; `init` has another
        `vector_size`, or numbers that are not finite or beyond `precision`; there is a checkpoint but no
        ``resume=True``; or the checkpoint to resume is damaged, or was made from another corpus or with other options
        (the message names both).
    FileExistsError
        If `checkpoint` names something else than a checkpoint.
    FileNotFoundError
        If a path does not exist.
    OSError
        If a checkpoint cannot be written, at the beginning where that can be known; the last one stays.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt), within 0.2 s; its ``vectors`` hold what had been learned. With `checkpoint`
        after one more checkpoint has been written, which a second Ctrl-C cuts short.

    Notes
    -----
    For a center with context words c and targets t (the center itself, label 1, and the negatives, label 0), with
    ``x = <in_c, out_t>`` and ``g = alpha * (label - sigmoid(x))``: ``in_c += sum_t g out_t`` and
    ``out_t += sum_c g in_c`` [1]_, equation 4. A negative equal to the center is skipped. In a tile a row's updates are
    summed; where the learning rate times the weight of the row's pairs exceeds 4 (CBOW: 2), the sum is scaled down to
    that, because it would overshoot: with few words, without subsampling, or with many negatives in wide windows. The
    products of a tile have float32 operands, or bfloat16 ones with float32 sums where the processor has instructions
    for them (`fastembed.isa.active`). Training costs about
    ``6 * (window + 1) * (negative + 1) * vector_size`` floating-point operations for each word kept. Workers update
    the shared vectors without locks [2]_, so several workers are not bit-reproducible. With "pair" they draw from two
    equally probable halves of the noise in turn, and seldom write to the same rows; their loss is 1 to 2% lower.

    With ``deterministic=True`` up to 8 tiles are computed from the same vectors and then added in the order of the
    text, each row by one worker. It takes a quarter more CPU time with one worker, half as much again with two (CBOW
    more: there one worker may be faster), and more where other programs take the cores, because workers wait for each
    other. Gradients are of vectors up to 512 words of text old; word similarity and
    analogies after 5 epochs were the same. The more often one word occurs (small vocabularies, ``sample=0``), and the
    higher `alpha`, `window` and `negative`, the fewer tiles make a round, down to one; more workers than tiles do not
    help, and a warning is logged when there are. "window" and "pair" update rows with every window or pair, which
    leaves nothing to share out: they train as with ``workers=1``, with a warning when more were asked for. Other
    instruction sets and library versions give other bits.

    Training with `init` is a new training with its own learning rates, from `alpha` to `min_alpha`, and its own
    history. Counts are added up (none in `init` count as 0) and order the result; negatives are drawn by them, so that
    words of `init` that are not in `corpus` change their output vectors as negatives only, and words with count 0 not
    at all; but a 16-bit `precision` rounds the vectors of all. Subsampling goes by the counts in `corpus` alone.
    (gensim's ``build_vocab(update=True)`` does the same, but ignores rare occurrences of known words.) In a corpus
    ``(ids, offsets)``, id i is the word ``str(i)``, as always.

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
    given = dict(locals())

    from fastembed._checkpoint import open_checkpoint
    from fastembed._corpus import encode_corpus

    initial, given["vector_size"] = load_initial(init, vector_size, max_final_vocab, precision)
    options = _Options.check(given)
    progress = check_bool("progress", progress)
    checked_callbacks = check_callbacks(callbacks)
    decisive = {name: value for name, value in options.config().items() if name != "workers"}
    decisive |= {name: given[name] for name in ("min_count", "max_final_vocab", "max_vocab_size", "errors")}
    opened = open_checkpoint(checkpoint, checkpoint_every, resume, decisive, train_word2vec.__kwdefaults__ or {})

    encoded = encode_corpus(
        corpus,
        min_count=min_count,
        max_final_vocab=max_final_vocab,
        max_vocab_size=max_vocab_size,
        workers=options.workers,
        errors=errors,
        memory_budget=memory_budget,
        progress=progress,
        known=initial,
    )
    config = {**options.config(), "min_count": min_count, "max_final_vocab": max_final_vocab}
    training = _Training(encoded, options, config, initial, opened)
    del initial, init, given  # vectors read from a file are not needed any more
    return training.run(checked_callbacks, progress=progress)
