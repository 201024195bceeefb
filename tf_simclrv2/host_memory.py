"""The memory of this machine, or of the container in which this process runs."""

from __future__ import annotations

import pathlib

import psutil

_CGROUP = pathlib.Path("/sys/fs/cgroup")
# Of version 2 and, if that is not there, of version 1: the limit, what is used, and which of that is a cache.
_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def total_memory() -> int:
    """Returns the bytes that this process and others of its container may use together."""
    limit, _ = _container()
    return min(psutil.virtual_memory().total, limit)


def free_memory() -> int:
    """Returns the bytes that are free now: of the machine or, if that is less, of the container's limit.

    `/proc/meminfo`, which psutil reads, has the numbers of the whole machine in a container too.
    """
    limit, used = _container()
    return max(min(psutil.virtual_memory().available, limit - used), 0)


def _container() -> tuple[int, int]:
    """The limit of the container and what is used of it; more than any machine has if there is none."""
    for limit, used, statistics, cache in _FILES:
        try:
            numbers = dict(line.split() for line in (_CGROUP / statistics).read_text().splitlines())
            kept = int((_CGROUP / used).read_text()) - int(numbers[cache])
            return int((_CGROUP / limit).read_text()), kept
        except (OSError, KeyError, ValueError):  # Not there, or the limit is "max".
            continue
    return 2**63, 0
