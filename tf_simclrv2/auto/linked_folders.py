"""Folders of links to pictures and files of labels, for `--dataset=image_folder` and `--labels_from`."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence

from tf_simclrv2.data.labels_file import LABEL, PATH
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


def write_labels(path: str, split: str, folder: str, labeled: Mapping[str, Sequence[str]]) -> None:
    """Writes labels as `--labels_from` takes them; a file that is there already is replaced.

    Args:
        path: The CSV file.
        split: The link to `folder`, with which the names of the pictures begin.
        folder: The absolute path of the folder in which the pictures lie.
        labeled: Paths by class name.
    """
    _make(os.path.dirname(path))
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((PATH, LABEL))
        for name, paths in labeled.items():
            rows.writerows((os.path.join(split, os.path.relpath(each, folder)), name) for each in paths)


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
