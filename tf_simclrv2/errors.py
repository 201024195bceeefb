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
    """Says that an input cannot be used; the message names the value, the limit and the cure."""


class ConfigError(UserError):
    """Says that a setting, or a combination of settings, is impossible."""


class DataError(UserError):
    """Says that images, labels or class names are missing, unreadable, or not what the settings say."""


class CheckpointError(UserError):
    """Says that saved weights, or their config, are missing, damaged, or of another network."""


class ExportError(UserError):
    """Says that an export cannot be made, or that an exported module cannot be used."""


class RunError(RuntimeError):
    """Says that a run cannot start or continue, whatever its settings; the message names cause and cure."""


class NotFiniteError(RunError):
    """Says that the loss became infinite or NaN."""


class Preempted(Exception):
    """Says that a run was asked to stop and has saved everything; the same command continues it.

    Args:
        message: Where it stopped and saved, in one sentence.
        exit_code: Exit code of the program; `EXIT_PREEMPTED` by default, `EXIT_INTERRUPTED` after Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int = EXIT_PREEMPTED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
