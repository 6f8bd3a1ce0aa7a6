"""Where the evaluation sets and corpora lie that are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent


def shared_path(*parts: str) -> Path | None:
    """Path of a shared file, or None if this machine does not have it.

    Looked for under the directory that FASTEMBED_SHARED names, else under ``../shared`` beside the repository.
    """
    root = Path(os.environ.get("FASTEMBED_SHARED") or _REPOSITORY.parent / "shared")
    path = root.joinpath(*parts)
    return path if path.exists() else None
