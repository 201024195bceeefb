"""What is raised, always with one sentence for the user."""

from __future__ import annotations

# sysexits.h's EX_TEMPFAIL: nothing is wrong, the same command goes on.
EXIT_PREEMPTED = 75


class ConfigError(ValueError):
    """A setting is impossible; the message names the value, the limit and the cure."""


class RunError(RuntimeError):
    """A run that had begun cannot go on; the message names the cause, what is kept and the cure."""


class NotFiniteError(RunError):
    """The loss stopped being a number."""


class Preempted(Exception):
    """The run was asked to stop, and has saved everything; the same command goes on."""
