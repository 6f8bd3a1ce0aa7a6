"""How far a training has come, and the progress bar that shows it: tqdm fed from the trainer's ticks."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastembed._core import EpochProgress


def progress_bar(enabled: bool, **options: Any) -> Any:
    """A tqdm bar with these `options`; None if it is not `enabled`, or stderr is closed."""
    if not enabled or getattr(sys.stderr, "closed", sys.stderr is None):
        return None
    from tqdm.auto import tqdm

    return tqdm(**options)


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    history : list of dict
        The records of the whole epochs.
    totals : dict or None
        Of the next epoch, as far as it has been trained.
    seconds : float
        Spent in that epoch.
    """

    history: list[dict[str, Any]]
    totals: EpochProgress | None = None
    seconds: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and position within."""
        return len(self.history), self.totals["token_count"] if self.totals else 0


class TrainingProgress:
    """One bar over all epochs, counted in raw words, `done` of them before; silent when `enabled` is False."""

    def __init__(self, *, enabled: bool, label: str, epochs: int, words_per_epoch: int, done: int = 0) -> None:
        self._words_per_epoch = words_per_epoch
        self._started = time.perf_counter()
        self._bar = progress_bar(
            enabled,
            total=epochs * words_per_epoch,
            initial=done,
            unit="word",
            unit_scale=True,
            desc=label,
            smoothing=0.1,
        )

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def enabled(self) -> bool:
        """Whether there is a bar to update."""
        return self._bar is not None

    def update(self, epoch: int, progress: EpochProgress) -> None:
        """Show the totals so far of `epoch` (from 0)."""
        if self._bar is None:
            return
        self._bar.set_postfix(
            epoch=epoch + 1,
            loss=f"{progress['loss'] / max(progress['positive_count'], 1):.4f}",
            lr=f"{progress['learning_rate']:.5f}",
            refresh=False,
        )
        done = epoch * self._words_per_epoch + progress["token_count"]
        self._bar.update(max(0, done - self._bar.n))
