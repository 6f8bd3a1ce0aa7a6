"""Checkpoints of a training: what is in them, when they are written, and whether one fits a call.

A checkpoint is a store (see _storage.py: .npy, plain vocabulary, JSON; replaced in one step), so that it loads as
`WordVectors` at any time. Its metadata.json has one entry more, "training"::

    version            of this entry
    options            every argument of train_word2vec that the result depends on
    corpus             tokens, sentences, and the CRC-32 of ids and offsets as the trainer sees them
    init               null, or sizes and checksums of the vectors that the training started from
    dtype, isa         in which the rows are stored, with which instruction set they were made
    epochs_done        whole epochs; their records are the store's history
    epoch_progress     null, or the totals of the epoch under way, whose token_count says where it goes on
    epoch_seconds      spent in that epoch
    finished           whether all epochs are done

Every random draw is a function of seed, epoch and position, so nothing else is needed to go on.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import _core
from fastembed._progress import Progress
from fastembed._storage import Rows, StoreContent, check_store_target, load_store, read_training, save_store
from fastembed._validate import check_bool, check_float, check_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from fastembed._continue import Initial
    from fastembed._corpus import EncodedCorpus
    from fastembed.vectors import WordVectors

__all__ = ["Checkpoint", "crc32_of", "open_checkpoint"]

_log = logging.getLogger("fastembed")
_VERSION = 1
_BLOCK_BYTES = 1 << 26  # between two looks for Ctrl-C
_TOTALS = ("token_count", "center_count", "positive_count", "loss")


def crc32_of(array: npt.NDArray[Any]) -> int:
    """CRC-32 of the bytes of a C-contiguous array."""
    data = np.asarray(array).reshape(-1).view(np.uint8)
    crc32 = 0
    for begin in range(0, data.size, _BLOCK_BYTES):
        crc32 = zlib.crc32(data[begin : begin + _BLOCK_BYTES].data, crc32)
    return crc32


def _kept(totals: Mapping[str, Any]) -> dict[str, Any]:
    return {name: totals[name] for name in _TOTALS}


def _interval(checkpoint_every: object) -> float:
    """Seconds between two checkpoints within an epoch; infinite for "epoch"."""
    if isinstance(checkpoint_every, str):
        if checkpoint_every != "epoch":
            raise ValueError(f"checkpoint_every must be 'epoch' or a number of minutes, got {checkpoint_every!r}")
        return math.inf
    return 60.0 * check_float("checkpoint_every", checkpoint_every, above=0.0)


class Checkpoint:
    """The checkpoint of one call of `train_word2vec`.

    Parameters
    ----------
    path : str
    interval : float
        Seconds, as `_interval` gives them.
    stored : dict or None
        The entry "training" of a checkpoint to go on from.
    options : mapping
        The arguments on which the result depends, JSON serialisable.
    """

    def __init__(self, path: str, interval: float, stored: dict[str, Any] | None, options: Mapping[str, Any]) -> None:
        self.path = path
        self._interval = interval
        self._stored = stored
        self._options = dict(options)
        self._written = time.monotonic()
        self._place: tuple[int, int] = (0, 0)  # what is on the disk, or the start
        self._failed = False

    # Before the training

    def check_options(self, defaults: Mapping[str, Any]) -> None:
        """Raise unless the stored options are ours. An option unknown to the checkpoint's writer had its default."""
        if self._stored is None:
            return
        if self._stored.get("version") != _VERSION:
            version = self._stored.get("version")
            raise ValueError(f"{self.path!r} is a checkpoint of version {version!r}, this fastembed reads {_VERSION}")
        stored = self._entry("options", dict)
        # sg first: the default of alpha follows from it.
        for name in sorted({*self._options, *stored}, key=lambda name: (name != "sg", name)):
            mine, theirs = self._options.get(name), stored.get(name, defaults.get(name))
            if name not in self._options:
                raise ValueError(
                    f"the checkpoint {self.path!r} has an option {name!r} that this fastembed does not know"
                )
            if mine != theirs:
                raise ValueError(
                    f"{name} is {mine!r} but the checkpoint {self.path!r} was made with {name}={theirs!r}; give the "
                    "same options to resume, or train into another checkpoint"
                )

    def _entry(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = (self._stored or {}).get(name)
        if not isinstance(value, kind):
            raise ValueError(f"the checkpoint {self.path!r} is damaged: its entry {name!r} is {value!r}")
        return value

    def bind(self, corpus: EncodedCorpus, initial: Initial | None, vector_size: int) -> None:
        """Take the corpus' fingerprint, compare it with the stored one, and see that there is room on the disk."""
        self._corpus = {
            "tokens": len(corpus.ids),
            "sentences": len(corpus.offsets) - 1,
            "ids_crc32": crc32_of(corpus.ids),
            "offsets_crc32": crc32_of(corpus.offsets),
        }
        self._init = None if initial is None else initial.fingerprint()
        self._compare("init", self._init)
        self._compare("corpus", self._corpus)
        self._check_space(8 * len(corpus.words) * (vector_size + 1) + sum(map(len, corpus.words)))

    def _compare(self, name: str, mine: dict[str, Any] | None) -> None:
        if self._stored is None:
            return
        theirs = self._entry(name, (dict, type(None)))
        if mine != theirs:

            def said(facts: dict[str, Any] | None) -> str:
                return "none" if facts is None else ", ".join(f"{key} {value}" for key, value in facts.items())

            raise ValueError(
                f"the checkpoint {self.path!r} was made with another {name}: it had {said(theirs)}; this one has "
                f"{said(mine)}"
            )

    def _check_space(self, size: int) -> None:
        """A replaced checkpoint goes only after the new one is whole, so there must be room for both."""
        needed = size if self._stored is not None else 2 * size
        try:
            total, _, free = shutil.disk_usage(os.path.dirname(os.path.realpath(self.path)))
        except OSError:
            return
        if total > 0 and free < needed:  # some file systems cannot tell and say 0
            raise OSError(
                errno.ENOSPC,
                f"checkpoints need {needed:,} bytes (an old and a new one of {size:,}) but {free:,} are free",
                self.path,
            )

    def restore(self, trainer: _core.Trainer, corpus: EncodedCorpus) -> Progress:
        """Bring `trainer` to where the stored checkpoint is, if there is one."""
        if self._stored is None:
            return Progress([])
        vectors: WordVectors = load_store(self.path, verify=True)
        if vectors.index_to_key != corpus.words or not np.array_equal(np.asarray(vectors.counts), corpus.counts):
            raise ValueError(
                f"the checkpoint {self.path!r} has another vocabulary: {len(vectors):,} words counted "
                f"{0 if vectors.counts is None else int(vectors.counts.sum()):,} times; the corpus has "
                f"{len(corpus.words):,} counted {int(corpus.counts.sum()):,} times"
            )
        if vectors.output_vectors is None:
            raise ValueError(f"the checkpoint {self.path!r} is damaged: it has no output vectors")
        rows = np.arange(len(vectors), dtype=np.int32)
        trainer.continue_from(rows, np.asarray(vectors.vectors), np.asarray(vectors.output_vectors))
        progress = Progress(
            vectors.history, self._entry("epoch_progress", (dict, type(None))), self._entry("epoch_seconds", float)
        )
        if len(progress.history) != self._entry("epochs_done", int):
            raise ValueError(f"the checkpoint {self.path!r} is damaged: its history does not fit its epochs_done")
        if self._stored.get("isa") != _core.active_isa():
            _log.warning(
                "the checkpoint was made with the instruction set %s, %s is in force: the result will not have the "
                "same bits",
                self._stored.get("isa"),
                _core.active_isa(),
            )
        self._place = progress.place
        self._written = time.monotonic()
        _log.info("resuming from %s: %d epochs are done", self.path, len(progress.history))
        return progress

    # During the training

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint of this training on the disk."""
        return self._stored is not None

    def seconds_left(self) -> float:
        """Until the next one is due; infinite for one every epoch."""
        return self._written + self._interval - time.monotonic()

    def write_if_due(self, trainer: _core.Trainer, words: list[str], content: Mapping[str, Any], at: Progress) -> None:
        """Write one, if it is time: at the end of an epoch or of the interval, and always at the end of training."""
        finished = len(at.history) == self._options["epochs"]
        if finished or self._interval == math.inf or self.seconds_left() <= 0:
            self.write(trainer, words, content, at)

    def write(self, trainer: _core.Trainer, words: list[str], content: Mapping[str, Any], at: Progress) -> None:
        """Write one, unless nothing has been trained since the last.

        Parameters
        ----------
        trainer : Trainer
        words : list of str
        content : mapping
            The counts and the config of the store.
        at : Progress
        """
        if at.place == self._place:
            return
        training = {
            "version": _VERSION,
            "fastembed": _core.__version__,
            "options": self._options,
            "corpus": self._corpus,
            "init": self._init,
            "dtype": "float32",
            "isa": _core.active_isa(),
            "epochs_done": len(at.history),
            "epoch_progress": _kept(at.totals) if at.totals else None,
            "epoch_seconds": float(at.seconds if at.totals else 0.0),
            "finished": len(at.history) == self._options["epochs"],
        }
        matrices = _matrices(trainer, len(words), self._options["vector_size"])
        store = StoreContent(matrices[0], words, content["counts"], matrices[1], at.history, content["config"])
        try:
            save_store(self.path, store, training=training)
        except Exception:
            self._failed = True
            raise
        self._stored = training
        self._place = at.place
        self._written = time.monotonic()

    def write_last(self, trainer: _core.Trainer, words: list[str], content: Mapping[str, Any], at: Progress) -> None:
        """Write one because the training ends early. What goes wrong here must not hide why it ends."""
        if self._failed:
            return
        try:
            self.write(trainer, words, content, at)
        except BaseException as error:  # a second Ctrl-C too: it ends the writing, the old checkpoint stays
            _log.warning("no last checkpoint was written: %s", str(error) or type(error).__name__)


def _matrices(trainer: _core.Trainer, n_words: int, vector_size: int) -> tuple[Rows, Rows]:
    def rows(output: bool) -> Rows:
        return Rows(
            (n_words, vector_size), np.dtype(np.float32), lambda begin, end: trainer.copy_rows(output, begin, end)
        )

    return rows(False), rows(True)


def open_checkpoint(
    path: object, checkpoint_every: object, resume: object, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Checkpoint | None:
    """Check the arguments about checkpoints, before anything is read or trained.

    Parameters
    ----------
    path, checkpoint_every, resume
        As given to `train_word2vec`.
    options : mapping
        The arguments on which the result depends.
    defaults : mapping
        The defaults of `train_word2vec`.

    Returns
    -------
    Checkpoint or None

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, a checkpoint is there and `resume` is False, or it was made with other options.
    OSError
        No checkpoint can be written at `path`.
    """
    interval = _interval(checkpoint_every)
    resume = check_bool("resume", resume)
    if path is None:
        if resume:
            raise ValueError("resume=True needs a checkpoint to resume from: give checkpoint=path")
        if interval != math.inf:
            raise ValueError("checkpoint_every needs a place for checkpoints: give checkpoint=path")
        return None
    name = check_path("checkpoint", path)
    if not name:
        raise ValueError("checkpoint must be a path, got an empty string")
    name = os.path.abspath(name)  # a callback may change the working directory
    check_store_target(name, checkpoint=True)
    stored = read_training(name)
    if stored is not None and not resume:
        raise ValueError(f"there is a checkpoint at {name!r} already: pass resume=True to go on from it, or remove it")
    checkpoint = Checkpoint(name, interval, stored, options)
    checkpoint.check_options(defaults)
    return checkpoint
