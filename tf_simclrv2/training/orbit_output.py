"""Where Orbit's own lines go: to the log, since the terminal has the run's."""

from __future__ import annotations

import contextlib
import contextvars
import io
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from absl import logging

from tf_simclrv2.progress import Say

# Whether the run speaks, and not Orbit.
_RUN_SPEAKS: contextvars.ContextVar[bool] = contextvars.ContextVar("run_speaks", default=False)


class _Log(io.TextIOBase):
    """A standard output whose text goes to the log at once, for a run may take days.

    The run's own lines, and those of other threads, which show its progress, pass through.
    """

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        if _RUN_SPEAKS.get() or threading.get_ident() != self._thread:
            return self._stdout.write(text)
        if text.strip():
            logging.debug("%s", text.rstrip())
        return len(text)

    def flush(self) -> None:
        self._stdout.flush()

    def isatty(self) -> bool:
        return self._stdout.isatty()

    def fileno(self) -> int:
        return self._stdout.fileno()


@contextlib.contextmanager
def orbit_to_log() -> Iterator[None]:
    """Sends what Orbit prints to the log; the terminal has its own lines."""
    with contextlib.redirect_stdout(_Log(sys.stdout)):
        yield


def past_the_log(say: Say) -> Say:
    """Returns a `say` that writes to standard output even while Orbit's lines go to the log."""

    def say_there(text: str) -> None:
        token = _RUN_SPEAKS.set(True)
        try:
            say(text)
        finally:
            _RUN_SPEAKS.reset(token)

    return say_there
