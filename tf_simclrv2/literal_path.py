"""Paths that TensorFlow reads as they are, although it takes them for patterns."""

from __future__ import annotations

import functools
import os
import tempfile

# What never matches itself; a path with * or ? does.
_NOT_ITSELF = frozenset("[\\")


def literal_path(path: str) -> str:
    r"""Returns another path to the same files, for a function of TensorFlow that looks for them by a pattern.

    What restores a checkpoint or loads a SavedModel asks whether any file matches the path: `x[1]` matches
    `x1`, and not itself. For such a path there will be a symbolic link without these characters, which lasts
    as long as the program.

    Args:
        path: A directory, or the prefix of a checkpoint's files.

    Returns:
        The path itself if it has neither `[` nor `\`, or is not on this machine.

    Example:
        >>> checkpoint.restore(literal_path("runs/lr=[0.1]/ckpt-100"))
    """
    if _NOT_ITSELF.isdisjoint(path) or "://" in path:
        return path
    target = os.path.abspath(path)
    link = os.path.join(tempfile.mkdtemp(dir=_links().name), "link")
    if os.path.isdir(target):
        os.symlink(target, link)
        return link
    folder, prefix = os.path.split(target)
    for name in os.listdir(folder):
        if name.startswith(f"{prefix}."):
            os.symlink(os.path.join(folder, name), link + name.removeprefix(prefix))
    return link


@functools.cache
def _links() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="tf_simclrv2-")
