"""Outputs that are whole or not there: written beside their place, and moved into it at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from tf_simclrv2.config import ConfigError


@contextlib.contextmanager
def staged(output: str, overwrite: bool = False) -> Iterator[str]:
    """A path beside `output` to write a file or directory to; it becomes `output` if the block succeeds.

    What a killed program left there is removed by the next one.

    Args:
        output: Where the result belongs.
        overwrite: Replace what is there.

    Yields:
        The path to write to; nothing is there yet.

    Raises:
        ConfigError: Something is there, and is not to be replaced; or the place cannot be written to.
    """
    output = os.path.abspath(output)
    if os.path.lexists(output) and not overwrite:
        raise ConfigError(f"output is {output!r}, which exists; choose another, or pass --overwrite.")
    parent, name = os.path.split(output)
    part, old = (os.path.join(parent, f".{name}.{word}-{os.getpid()}") for word in ("part", "old"))
    try:
        os.makedirs(parent, exist_ok=True)
        _remove_leftovers(parent, name)
    except OSError as error:
        raise ConfigError(
            f"output is {output!r}, which cannot be written ({error}); choose another."
        ) from error
    try:
        yield part
        if os.path.lexists(output):
            os.rename(output, old)
        os.rename(part, output)
    finally:
        _remove(part)
        _remove(old)


def _remove_leftovers(parent: str, name: str) -> None:
    for found in os.listdir(parent):
        stem, _, process = found.rpartition("-")
        if stem in (f".{name}.part", f".{name}.old") and process.isdigit() and not _is_running(int(process)):
            _remove(os.path.join(parent, found))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
