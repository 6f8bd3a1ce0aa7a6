"""Process-wide settings and what there is to say about this build and machine."""

from __future__ import annotations

import sys

from fastembed import _core, cuda, isa
from fastembed._validate import check_int


def set_num_threads(workers: int | None) -> None:
    """Set how many workers ``workers=None`` means from now on, in this process.

    Parameters
    ----------
    workers : int or None
        At least 1. None returns to ``FASTEMBED_NUM_THREADS`` or, without it, to the cores that the process may use
        (affinity mask and control-group quota).

    Raises
    ------
    TypeError
        If ``workers`` is neither an int nor None.
    ValueError
        If ``workers`` is below 1.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.set_num_threads(1)
    >>> fastembed.show_config()["workers"]
    1
    >>> fastembed.set_num_threads(None)
    """
    _core.set_default_worker_count(0 if workers is None else check_int("workers", workers, 1, 4096))


def default_workers(workers: int | None) -> int:
    """Resolve a ``workers`` argument."""
    if workers is None:
        return _core.default_worker_count()
    return check_int("workers", workers, 1, 4096)


class Config(dict[str, object]):
    """What `show_config` returns: a dict that prints as a table."""

    def __str__(self) -> str:
        width = max(len(key) for key in self)
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.items())

    __repr__ = __str__


def show_config() -> Config:
    """Return version, compiler, instruction sets, threads and CUDA state.

    Returns
    -------
    Config
        A dict that prints as a table, with the keys ``version``, ``python``, ``compiler``, ``isa`` (in force),
        ``isa_available``, ``isa_compiled``, ``workers`` (what ``workers=None`` means), ``usable_cpus``, ``cuda``
        (bool), ``cuda_reason`` and ``sanitizers``.
    """
    return Config(
        version=_core.__version__,
        python=sys.version.split()[0],
        compiler=_core.compiler,
        isa=isa.active(),
        isa_available=isa.available(),
        isa_compiled=_core.compiled_isas(),
        workers=_core.default_worker_count(),
        usable_cpus=_core.usable_cpu_count(),
        cuda=cuda.is_available(),
        cuda_reason=cuda.why_not(),
        sanitizers=_core.sanitizers,
    )
