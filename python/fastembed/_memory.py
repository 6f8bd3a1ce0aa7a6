"""How much memory there is for this process."""

from __future__ import annotations

import os

__all__ = ["available_memory", "memory_limit"]


def _control_groups() -> list[str]:
    """The folders of this process's control groups for memory and of those above them, and the files' name for each."""
    files = []
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
        root, name = (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if controllers else ("/sys/fs/cgroup", "memory.max")
        )
        while True:
            files.append(os.path.join(root + path.rstrip("/"), name))
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return files


def memory_limit() -> int:
    """Bytes of memory that this process may use: what the machine has, or the tightest limit of its control groups."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _control_groups():
        try:
            with open(file, encoding="ascii") as text:
                limit = min(limit, int(text.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return limit


def available_memory() -> int:
    """Bytes of memory that it can have now, at the expense of cached files alone, as far as the system tells."""
    limit = memory_limit()
    try:
        with open("/proc/meminfo", encoding="ascii") as text:
            for line in text:
                if line.startswith("MemAvailable:"):
                    return min(limit, 1024 * int(line.split()[1]))
    except (OSError, ValueError):
        pass
    return limit
