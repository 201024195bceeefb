"""Outputs that are whole or not there: written beside their place, and moved into it at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from tf_simclrv2.errors import ExportError


@contextlib.contextmanager
def staged(output: str, overwrite: bool = False) -> Iterator[str]:
    """A path beside `output` to write a file or directory to; it becomes `output` if the block succeeds.

    What a killed program left there is removed by the next one, and what it had moved away is put back.

    Args:
        output: Where the result belongs.
        overwrite: Replace what is there.

    Yields:
        The path to write to; nothing is there yet.

    Raises:
        ExportError: Something is there, and is not to be replaced; or the place cannot be written to.
    """
    output = os.path.abspath(output)
    parent, name = os.path.split(output)
    part, old = (os.path.join(parent, f".{name}.{word}-{os.getpid()}") for word in ("part", "old"))
    try:
        os.makedirs(parent, exist_ok=True)
        _clear_leftovers(parent, name)
    except OSError as error:
        raise ExportError(
            f"output is {output!r}, which cannot be written ({error}); choose another."
        ) from error
    if os.path.lexists(output) and not overwrite:
        raise ExportError(f"output is {output!r}, which exists; choose another, or pass --overwrite.")
    try:
        yield part
        if os.path.lexists(output):
            os.rename(output, old)
        os.rename(part, output)
    finally:
        _remove(part)
        _put_back_or_remove(old, output)


def _clear_leftovers(parent: str, name: str) -> None:
    for found in os.listdir(parent):
        stem, _, process = found.rpartition("-")
        if not process.isdigit() or _is_running(int(process)):
            continue
        if stem == f".{name}.part":
            _remove(os.path.join(parent, found))
        elif stem == f".{name}.old":
            _put_back_or_remove(os.path.join(parent, found), os.path.join(parent, name))


def _put_back_or_remove(old: str, output: str) -> None:
    """What was moved away is put back where nothing took its place."""
    if os.path.lexists(output):
        _remove(old)
    elif os.path.lexists(old):
        os.rename(old, output)


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
