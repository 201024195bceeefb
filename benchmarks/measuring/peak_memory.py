"""The most memory that a process has held; for programs of any framework (Linux)."""

from __future__ import annotations

import pathlib


def peak_bytes() -> int:
    """The largest resident size of this process so far.

    Not `ru_maxrss`: that one starts from what the parent held when it started this process.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
