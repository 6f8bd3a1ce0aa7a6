"""Fast word vectors, similarity and top-k search."""

from __future__ import annotations

from typing import Any

from fastembed.vectors import WordVectors

__all__ = ["WordVectors", "show_config", "train_word2vec"]


def train_word2vec(corpus: Any, **options: Any) -> WordVectors:
    """Train word vectors; present in builds with the extension."""
    raise RuntimeError("this build of fastembed has no training extension")


def show_config() -> str:
    """How fastembed was built."""
    return "fastembed without its extension"
