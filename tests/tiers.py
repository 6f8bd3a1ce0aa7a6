"""The instruction sets that a test is to run on: those of this machine whose kernels differ in what it tests."""

from __future__ import annotations

import fastembed
from fastembed import _core

#: How the names of kernels begin that training calls; search calls the others.
TRAINING = ("sgns", "cbow", "add_rows", "sigmoid", "drain", "draw", "dot")


def _distinct(training: bool) -> list[str]:
    before, names = fastembed.isa.active(), {}
    for name in fastembed.isa.available():
        _core.select_isa(name)
        served = fastembed.isa.active_kernels().items()
        names.setdefault(tuple(tier for kernel, tier in served if kernel.startswith(TRAINING) == training), name)
    _core.select_isa(before)
    distinct = list(names.values())
    # Sanitizers take minutes for what takes seconds: the widest there, and one that reads and writes otherwise. (The
    # checks of single kernels run on all of them everywhere.)
    return [name for name in distinct if name in (distinct[0], "avx2")] if _core.sanitizers else distinct


TRAINING_ISAS = _distinct(training=True)
SEARCH_ISAS = _distinct(training=False)
