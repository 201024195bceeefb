"""All files below a folder, each once, whatever their names are and wherever links lead."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator

import tensorflow as tf

from tf_simclrv2.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif")


class FolderWalk:
    """What a walk through a folder finds. Names that begin with a dot are passed over.

    Args:
        folder: On this machine, or at an address that TensorFlow knows, such as `gs://bucket/folder`.

    Attributes:
        images: Paths of image files relative to the folder, with forward slashes, sorted.
        others: How many other files there are, by extension.
        repeated: How many links lead to a file or folder that is listed already.
        top_folders: Names of the folders directly in it, sorted.

    Raises:
        DataError: The name of an image or a folder is not text of one line.

    Example:
        >>> FolderWalk("pictures").others
        Counter({'.txt': 2})
    """

    def __init__(self, folder: str) -> None:
        self.images: list[str] = []
        self.others: collections.Counter[str] = collections.Counter()
        self.repeated = 0
        self._seen: set[str] = set()
        self.top_folders = sorted(name for name, is_folder in _children(folder) if is_folder)
        # Links come last, so that none takes a file away from the folder that it lies in.
        links: collections.deque[tuple[str, str, bool]] = collections.deque()
        self._visit(folder, "", links)
        while links:
            path, relative, is_folder = links.popleft()
            if is_folder:
                self._visit(path, f"{relative}/", links)
            else:
                self._add(_real(path), relative)
        self.images.sort()

    def _visit(self, folder: str, prefix: str, links: collections.deque[tuple[str, str, bool]]) -> None:
        real = _real(folder)
        if self._is_repeated(real):
            return
        for name, is_folder in sorted(_children(folder)):
            path = os.path.join(folder, name)
            if not (is_folder or name.lower().endswith(EXTENSIONS)):
                self.others[os.path.splitext(name)[1].lower() or "without extension"] += 1
                continue
            relative = prefix + _checked(name, folder)
            if _is_link(path):
                links.append((path, relative, is_folder))
            elif is_folder:
                self._visit(path, f"{relative}/", links)
            else:
                self._add(os.path.join(real, name), relative)

    def _add(self, real: str, relative: str) -> None:
        if not self._is_repeated(real):
            self.images.append(relative)

    def _is_repeated(self, real: str) -> bool:
        if real in self._seen:
            self.repeated += 1
            return True
        self._seen.add(real)
        return False


def _children(folder: str) -> Iterator[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder, through links too; broken links are files."""
    if _is_remote(folder):
        _, folders, files = next(tf.io.gfile.walk(folder))
        found = [(name.rstrip("/"), True) for name in folders] + [(name, False) for name in files]
    else:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    return ((name, is_folder) for name, is_folder in found if not name.startswith("."))


def _is_remote(path: str) -> bool:
    return "://" in path


def _is_link(path: str) -> bool:
    return not _is_remote(path) and os.path.islink(path)


def _real(path: str) -> str:
    return path if _is_remote(path) else os.path.realpath(path)


def _checked(name: str, folder: str) -> str:
    """The name, which becomes a path in a graph and perhaps a line of labels.txt."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"The folder {folder!r} holds the name {os.fsencode(name)!r}, which is not UTF-8; rename it."
        ) from error
    if len(name.splitlines()) > 1:
        raise DataError(f"The folder {folder!r} holds the name {name!r}, which has a line break; rename it.")
    return name
