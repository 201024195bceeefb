"""One program at a time in a directory, by a lock that dies with the program."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import TextIO

from tf_simclrv2.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no flock.
    fcntl = None

LOCK_FILE = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
# `is_in_use` holds a lock for less than this many seconds.
_MOMENT = 0.1


@contextlib.contextmanager
def directory_lock(directory: str, what: str, cure: str) -> Iterator[None]:
    """Holds a directory for this program until the context ends, however the program ends.

    The lock is `flock`'s on the file `.lock`, so a killed program leaves nothing that would have to be
    removed. Where such locks do not exist (`gs://`, some network filesystems) none is taken.

    Args:
        directory: It exists.
        what: What the directory is, for the message: `model_dir`.
        cure: What to do if another program holds it, for the message.

    Raises:
        ConfigError: Another program holds it, with its process and host.
    """
    if fcntl is None or "://" in directory:
        yield
        return
    with open(os.path.join(directory, LOCK_FILE), "a+") as file:
        if _take(file, f"{what} {directory!r}", cure):
            _write_holder(file)
        yield


def is_in_use(directory: str) -> bool | None:
    """Returns whether a program trains in a directory; None where there are no locks, so that nobody knows.

    Args:
        directory: A model_dir.

    Example:
        >>> with directory_lock("/tmp/run", "model_dir", "wait until that has ended"):
        ...     is_in_use("/tmp/run")
        True
    """
    if fcntl is None or "://" in directory:
        return None
    try:
        with open(os.path.join(directory, LOCK_FILE)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return True if error.errno in _TAKEN else None
    return False


def _take(file: TextIO, what: str, cure: str) -> bool:
    """Takes the lock, which closing the file gives back; False where the filesystem has none."""
    assert fcntl is not None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_MOMENT)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _refusal(file, what, cure) from None
        return False
    return True


def _write_holder(file: TextIO) -> None:
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
    file.flush()


def _refusal(file: TextIO, what: str, cure: str) -> ConfigError:
    file.seek(0)
    try:
        holder = json.load(file)
        who = f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):  # It has not written its name yet.
        who = "another program"
    return ConfigError(f"{what} is in use by {who}; {cure}.")


@contextlib.contextmanager
def waiting_lock(path: str) -> Iterator[None]:
    """Waits for a lock on a file and holds it until the context ends; there is none where `flock` is not.

    Args:
        path: The file, which is made if it does not exist.
    """
    if fcntl is None or "://" in path:
        yield
        return
    with open(path, "a") as file:
        with contextlib.suppress(OSError):  # A filesystem without such locks.
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
