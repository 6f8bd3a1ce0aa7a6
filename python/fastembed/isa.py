"""Which instruction sets this build has, this machine runs, and the kernels use.

The best available set is chosen at import. The environment variable ``FASTEMBED_ISA`` forces another one; a name that
is unknown or that the machine cannot run is a RuntimeError that lists what is available.
"""

from __future__ import annotations

import os

from fastembed import _core

try:
    _core.select_isa(os.environ.get("FASTEMBED_ISA", ""))
except RuntimeError as error:
    raise RuntimeError(f"{error} (asked for by FASTEMBED_ISA)") from None


def available() -> list[str]:
    """Return the instruction sets this machine can run, best first.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.isa.available()[-1]
    'scalar'
    """
    return _core.available_isas()


def active() -> str:
    """Return the instruction set in force.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.isa.active() in fastembed.isa.available()
    True
    """
    return _core.active_isa()


def active_kernels() -> dict[str, str]:
    """Return, for each kernel, the instruction set that serves it: a set without a kernel inherits a lower one's.

    Examples
    --------
    >>> import fastembed
    >>> sorted(fastembed.isa.active_kernels())[:2]
    ['add_rows', 'bf16_query_bits']
    """
    return _core.active_kernels()
