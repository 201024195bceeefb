"""A line below the running cell of a notebook that changes in place."""

from __future__ import annotations

import io
import sys
import time
import uuid
from typing import Any


def running_cell() -> int | None:
    """Returns the number of the cell that a notebook runs; None outside of notebooks."""
    shell = _shell()
    return None if shell is None else shell.execution_count


def _shell() -> Any:
    """What runs the cells, if this program is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell if hasattr(shell, "kernel") else None  # IPython in a terminal has none.


class NotebookLine(io.TextIOBase):
    """A file whose last line a notebook shows; what follows a carriage return replaces it.

    It is an output of its own and stays where it first appeared, whatever is printed meanwhile.

    Args:
        after: Seconds from now on in which nothing is shown yet.

    Example:
        >>> for page in tqdm(pages, file=NotebookLine(after=2.0)):
        ...     read(page)
    """

    def __init__(self, after: float) -> None:
        self._due = time.perf_counter() + after
        self._name = uuid.uuid4().hex
        self._line = self._shown = ""

    @property
    def encoding(self) -> str:  # By which tqdm chooses the characters of a bar.
        return "utf-8"

    def write(self, text: str) -> int:
        self._line = (self._line + text).rstrip("\n").rpartition("\r")[2]
        return len(text)

    def flush(self) -> None:
        line = self._line.rstrip()
        if not line or line == self._shown or time.perf_counter() < self._due:
            return
        _shell().display_pub.publish(
            {"text/plain": line}, transient={"display_id": self._name}, update=bool(self._shown)
        )
        self._shown = line
