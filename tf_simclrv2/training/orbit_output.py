"""Where Orbit's own lines go: to the log, since the terminal has the run's."""

from __future__ import annotations

import contextlib
import io
import sys

from absl import logging

from tf_simclrv2.progress import Say


class _Log(io.TextIOBase):
    """A stream whose text goes to the log at once, for a run may take days."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.debug("%s", text.rstrip())
        return len(text)


def orbit_to_log() -> contextlib.AbstractContextManager:
    """Sends what Orbit prints to the log; the terminal has its own lines."""
    return contextlib.redirect_stdout(_Log())


def to_present_stdout(say: Say) -> Say:
    """`say` whose lines go where standard output goes now, even while Orbit's go to the log."""
    stdout = sys.stdout

    def say_there(text: str) -> None:
        with contextlib.redirect_stdout(stdout):
            say(text)

    return say_there
