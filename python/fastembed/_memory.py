"""How much memory there is for this process."""

from __future__ import annotations

import os

__all__ = ["available_memory", "memory_limit"]


def _control_groups() -> list[tuple[str, str]]:
    """This process's control groups for memory and those above them: their folders, each with its limit's file name."""
    found = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as text:
            lines = text.read().splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/", "0:memory:/"]:  # the last: where a container sees its own group as the root
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = "/sys/fs/cgroup", "memory.max"
        if controllers:
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        while True:
            found.append((root + path.rstrip("/"), name))
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return found


def _limit_of(folder: str, name: str) -> int | None:
    """Bytes that a control group may use; None where there is no limit."""
    try:
        with open(os.path.join(folder, name), encoding="ascii") as text:
            return int(text.read())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _number(file: str, names: tuple[str, ...]) -> int | None:
    """The number behind the first of these names in a file of names and numbers."""
    try:
        with open(file, encoding="ascii") as text:
            for line in text:
                words = line.split()
                if words and words[0] in names:
                    return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def memory_limit() -> int:
    """Bytes of memory that this process may use: what the machine has, or the tightest limit of its control groups."""
    limits = [_limit_of(*group) for group in _control_groups()]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for limit in limits if limit is not None)])


def available_memory() -> int:
    """Bytes of memory that it can have now, at the expense of cached files alone, as far as the system tells."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kibibytes = _number("/proc/meminfo", ("MemAvailable:",))
    if kibibytes is not None:
        available = min(available, 1024 * kibibytes)
    for folder, name in _control_groups():
        limit = _limit_of(folder, name)
        if limit is not None:  # less what its processes hold: "anon" in the second version, in the first "total_rss"
            held = _number(os.path.join(folder, "memory.stat"), ("anon", "total_rss")) or 0
            available = min(available, max(0, limit - held))
    return available
