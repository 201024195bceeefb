"""How a training that had begun may end early."""

from __future__ import annotations

# sysexits.h's EX_TEMPFAIL: nothing is wrong, the same command goes on.
EXIT_PREEMPTED = 75


class RunError(RuntimeError):
    """A run that had begun cannot go on; the message names the cause, what is kept and the cure."""


class NotFiniteError(RunError):
    """The loss stopped being a number."""


class Preempted(Exception):
    """The run was asked to stop, and has saved everything; the same command goes on."""
