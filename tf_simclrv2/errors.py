"""Errors whose message is one sentence for the user, and the exit codes of a run that was stopped.

The command line prints `error: ` and the sentence, and exits with 1. A program that calls the library may
catch `UserError` for whatever is wrong with its input, or one of the children for a part of that.
"""

from __future__ import annotations

# sysexits.h's EX_TEMPFAIL: nothing is wrong, and the same command continues.
EXIT_PREEMPTED = 75
# What a shell gives a program that Ctrl-C has ended: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


class UserError(ValueError):
    """An input cannot be used; the message names the value, the limit and the cure."""


class ConfigError(UserError):
    """A setting, or a combination of settings, is impossible."""


class DataError(UserError):
    """Images, labels or class names cannot be used: missing, unreadable, or not what the settings say."""


class CheckpointError(UserError):
    """Saved weights, or their config, cannot be used: missing, damaged, or of another network."""


class ExportError(UserError):
    """An export cannot be made, or an exported module cannot be used."""


class RunError(RuntimeError):
    """A run cannot start or continue, whatever its settings; the message names the cause and the cure."""


class NotFiniteError(RunError):
    """The loss became infinite or NaN."""


class Preempted(Exception):
    """The run was asked to stop and has saved everything; the same command continues it.

    Args:
        message: Where it stopped and saved, in one sentence.
        exit_code: What the program ends with; `EXIT_INTERRUPTED` if it was Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int = EXIT_PREEMPTED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
