"""What a training tells its callers while it runs: callbacks, their state, and the exception that Ctrl-C becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastembed.vectors import WordVectors

__all__ = ["Callback", "TrainingInterrupted", "TrainingState", "check_callbacks"]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. ``vectors`` holds what had been learned when it came.

    Attributes
    ----------
    vectors : WordVectors
        The vectors as they were at the interruption.
    epochs_done : int
        Whole epochs that had been trained.
    checkpoint : str or None
        Where a checkpoint is, from which the same call with ``resume=True`` goes on.
    """

    def __init__(self, vectors: WordVectors, epochs_done: int, checkpoint: str | None = None) -> None:
        resume = f"; resume from {checkpoint!r}" if checkpoint else ""
        super().__init__(f"training was interrupted after {epochs_done} whole epochs{resume}")
        self.vectors = vectors
        self.epochs_done = epochs_done
        self.checkpoint = checkpoint

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own would call __init__ with the message.
        return type(self), (self.vectors, self.epochs_done, self.checkpoint), vars(self)


@dataclass
class TrainingState:
    """What callbacks are given: where training stands.

    Attributes
    ----------
    epoch : int
        The current epoch, from 0; a resumed training begins with the first that is not whole.
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
        """Run before the first epoch, also when a training is resumed."""

    def on_epoch_begin(self, state: TrainingState) -> None:
        """Run before each epoch, once more when one is resumed in its middle."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Run after each epoch and its checkpoint; ``state.history[-1]`` is its record."""

    def on_train_end(self, state: TrainingState) -> None:
        """Run after the last epoch."""


def check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return them as a list, each of which is a `Callback`."""
    if not isinstance(callbacks, Iterable):
        given = type(callbacks).__name__
        raise TypeError(f"callbacks must be an iterable of fastembed.Callback objects, got {given}")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be fastembed.Callback objects, got {type(callback).__name__}")
    return checked
