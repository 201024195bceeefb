"""Folders of links to pictures, sorted into splits and classes, for `--dataset=image_folder`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

from tf_simclrv2.errors import DataError


def link_folder(folder: str, target: str) -> None:
    """Makes a folder another name of `target`; one that is there already is replaced."""
    _make(os.path.dirname(folder))
    if os.path.islink(folder):
        os.remove(folder)
    _link(target, folder)


def link_classes(folder: str, labeled: Mapping[str, Sequence[str]]) -> None:
    """Fills FOLDER/CLASS/ with links to the pictures of each class, numbered in their order.

    Args:
        folder: Is emptied first.
        labeled: Absolute paths by class name.

    Raises:
        DataError: The disk takes no links.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name, paths in labeled.items():
        _make(os.path.join(folder, name))
        for number, path in enumerate(paths):
            _link(path, os.path.join(folder, name, f"{number:06}{os.path.splitext(path)[1]}"))


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The folder {folder!r} cannot be made ({error.strerror}); choose another --output."
        ) from error


def _link(target: str, path: str) -> None:
    try:
        os.symlink(os.path.abspath(target), path)
    except OSError as error:
        raise DataError(
            f"A link to {target!r} cannot be made at {path!r} ({error.strerror}); choose an --output on a "
            "disk that supports links."
        ) from error
