"""fastembed: word2vec training, similarity and exact top-k search with SIMD kernels.

The distribution is called ``fastembed-native``; the package is imported as ``fastembed``.
"""

from __future__ import annotations

import os as _os


def _refuse_mixed_installation(package: str | _os.PathLike[str]) -> None:
    """Raise ImportError when files of another distribution of the same import name lie in the package directory."""
    names = ("text", "image", "sparse", "common", "rerank")
    foreign = [name for name in names if _os.path.isdir(_os.path.join(package, name))]
    if foreign:
        raise ImportError(
            f"the package directory {package} also holds files of another distribution that is imported as "
            f"'fastembed' ({', '.join(foreign)}); the two cannot share an environment: uninstall both with "
            "'pip uninstall fastembed fastembed-native', then install the one you want"
        )


_refuse_mixed_installation(_os.path.dirname(__file__))  # pathlib would take a tenth of the whole import

from fastembed import cuda, isa  # noqa: E402
from fastembed._callbacks import Callback, TrainingInterrupted, TrainingState  # noqa: E402
from fastembed._config import set_num_threads, show_config  # noqa: E402
from fastembed._core import __version__  # noqa: E402
from fastembed._groups import Deduplication, communities, deduplicate  # noqa: E402
from fastembed._similarity import normalize, paired_similarity, similarity  # noqa: E402
from fastembed.index import Index, Plan  # noqa: E402
from fastembed.phrases import Phrases, learn_phrases  # noqa: E402
from fastembed.search import RangeHits, TopK, merge_topk, range_search, self_topk, topk  # noqa: E402
from fastembed.vectors import WordVectors  # noqa: E402
from fastembed.word2vec import train_word2vec  # noqa: E402

__all__ = [
    "Callback",
    "Deduplication",
    "Index",
    "Phrases",
    "Plan",
    "RangeHits",
    "TopK",
    "TrainingInterrupted",
    "TrainingState",
    "WordVectors",
    "__version__",
    "communities",
    "cuda",
    "deduplicate",
    "isa",
    "learn_phrases",
    "merge_topk",
    "normalize",
    "paired_similarity",
    "range_search",
    "self_topk",
    "set_num_threads",
    "show_config",
    "similarity",
    "topk",
    "train_word2vec",
]
