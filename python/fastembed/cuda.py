"""The CUDA backend: whether it is there, and why not."""

from __future__ import annotations

from fastembed import _core


def is_available() -> bool:
    """Return True when ``device="cuda"`` can be used."""
    return not _core.cuda_reason


def why_not() -> str:
    """Return the reason why the CUDA backend cannot be used, "" when it can."""
    return _core.cuda_reason
