"""Writes an output to a temporary path and moves it into place at the end, so that it is never partial."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator

from tf_simclrv2.errors import ExportError

# What exports and conversions write at their top; what holds anything else is not one of them.
_OURS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables|assets(\.extra)?|simclr\.json|labels\.txt|README\.md"
    r"|model(_int8)?\.tflite|model\.onnx|config\.json|checkpoint|ckpt-0\..+"
)
# One of these is in each; the other names may be anybody's.
_MODELS = frozenset({"saved_model.pb", "model.tflite", "model.onnx", "ckpt-0.index"})


@contextlib.contextmanager
def stage(output: str, overwrite: bool = False) -> Iterator[str]:
    """Gives a temporary path for a file or directory, which becomes `output` if the block succeeds.

    If an earlier program was killed, its temporary files are removed, and an output that it had moved away
    is moved back.

    Args:
        output: The path of the result.
        overwrite: Whether to replace an existing output, but no directory of other things, such as a
            training; False by default.

    Yields:
        A path in the same directory, at which nothing exists yet.

    Raises:
        ExportError: The output is not on this machine, exists and may not be replaced, or its directory
            cannot be written.
    """
    refuse_remote(output)
    output = os.path.abspath(output)
    parent, name = os.path.split(output)
    part, old = (os.path.join(parent, f".{name}.{word}-{os.getpid()}") for word in ("part", "old"))
    try:
        os.makedirs(parent, exist_ok=True)
        _clear_leftovers(parent, name)
        tempfile.TemporaryDirectory(dir=parent).cleanup()  # Whether one can be made, before work starts.
    except OSError as error:
        raise ExportError(
            f"output is {output!r}, which cannot be written ({error}); choose another."
        ) from error
    _refuse_to_replace(output, overwrite)
    try:
        yield part
        _refuse_to_replace(output, overwrite)  # Again: the block may have taken hours.
        if os.path.lexists(output):
            os.rename(output, old)
        os.rename(part, output)
    finally:
        _remove(part)
        _put_back_or_remove(old, output)


def refuse_remote(output: str) -> None:
    """Refuses an output on another filesystem, which cannot be written to a temporary path and moved.

    Args:
        output: The path of the result.

    Raises:
        ExportError: It is something like `gs://`.
    """
    if "://" in output:
        raise ExportError(
            f"output is {output!r}, but it is written on this machine first; choose a path here, and copy it "
            "afterwards, for example with gcloud storage cp -r."
        )


def _refuse_to_replace(output: str, overwrite: bool) -> None:
    if os.path.lexists(output) and not overwrite:
        raise ExportError(f"output is {output!r}, which exists; choose another, or pass --overwrite.")
    if not os.path.isdir(output):
        return
    held = sorted(os.listdir(output))
    foreign = [name for name in held if not _OURS.fullmatch(name)] or (_MODELS.isdisjoint(held) and held)
    if foreign:
        raise ExportError(
            f"output is {output!r}, which holds {foreign[0]!r} and so is not an export, but --overwrite "
            "replaces only exports; choose another."
        )


def _clear_leftovers(parent: str, name: str) -> None:
    leftover = re.compile(rf"\.{re.escape(name)}\.(part|old)-([0-9]{{1,9}})")  # A process has as many digits.
    for found in map(leftover.fullmatch, os.listdir(parent)):
        if found is None or _is_running(int(found[2])):
            continue
        path = os.path.join(parent, found[0])
        if found[1] == "part":
            _remove(path)
        else:
            _put_back_or_remove(path, os.path.join(parent, name))


def _put_back_or_remove(old: str, output: str) -> None:
    """Moves the old output back if nothing has replaced it, else removes it."""
    if os.path.lexists(output):
        _remove(old)
    elif os.path.lexists(old):
        os.rename(old, output)


def _is_running(process: int) -> bool:
    if process == os.getpid():  # In a container, every program may have the number 1: not this one's, then.
        return False
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
