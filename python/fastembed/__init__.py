"""Fast word vectors, similarity and top-k search."""

from fastembed.vectors import WordVectors

__all__ = ["WordVectors"]
