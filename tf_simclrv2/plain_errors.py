"""Ends a program with one sentence at an error that its user can mend, and no traceback."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Iterator

from tf_simclrv2.errors import RunError, UserError

# How TensorFlow words what its file systems cannot do; its types of errors say less.
_NO_FILE_SYSTEM = re.compile(r"File system scheme '(.*?)' not implemented \(file: '(.*?)'\)")
_OUT_OF_REACH = re.compile(
    r"Error executing an HTTP request: (.+?)\s+when \w+ing .*?(gs://[^\s\"']+)", re.DOTALL
)
_ON_DISK = re.compile(
    r"(\S[^\n]*?); (No space left on device|Disk quota exceeded|Read-only file system|Permission denied)"
)
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_DISK_CURE = "make room there, or permit it, or choose another place, and run the same command again"


@contextlib.contextmanager
def errors_in_a_sentence() -> Iterator[None]:
    """Ends the program with code 1 and a sentence where the user's input, a path or a disk is at fault.

    Raises:
        SystemExit: In place of such an error; others pass.

    Example:
        >>> with errors_in_a_sentence():
        ...     Run(config).execute()
    """
    try:
        yield
    except (UserError, RunError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        sentence = file_error(error)
        if not sentence:
            raise
        sys.exit(f"error: {sentence}")


def file_error(error: Exception) -> str:
    """Returns what a file system could not do, in a sentence; empty for another error.

    Args:
        error: TensorFlow's or Python's.
    """
    text = str(getattr(error, "message", ""))
    if found := _NO_FILE_SYSTEM.search(text):
        return (
            f"{found[2]!r} cannot be reached, as TensorFlow has no file system {found[1]}:// here; use a "
            "path on this machine, or gs://."
        )
    if found := _OUT_OF_REACH.search(text):
        reason = " ".join(found[1].split())
        return (
            f"{found[2]!r} cannot be reached ({reason}); check its name, the network and your permission to "
            "use it."
        )
    if found := _ON_DISK.search(text):
        return f"{found[1]!r} cannot be used ({found[2]}); {_DISK_CURE}."
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return f"{error.filename or 'a file'!r} cannot be used ({error.strerror}); {_DISK_CURE}."
    return ""
