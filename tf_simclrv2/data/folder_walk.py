"""All files below a folder, each once, whatever their names are and wherever links lead."""

from __future__ import annotations

import collections
import os
from typing import NamedTuple

import tensorflow as tf

from tf_simclrv2.errors import DataError

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng"),
    *(".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif"),
)
# Pictures too, in formats that are not read.
OTHER_PICTURES = (
    *(".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
    *(".svg", ".svgz", ".ico", ".icns", ".psd", ".xcf"),
    *(".jp2", ".jxl", ".tga", ".pcx", ".ppm", ".pgm", ".exr"),
)


class _Child(NamedTuple):
    """A name in a folder, and what links lead to; a broken link is a file, which cannot be read."""

    name: str
    is_folder: bool
    is_special: bool = False  # A pipe or a device, which a reader would wait for.

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith(".")

    @property
    def kind(self) -> str:
        """What files that are not taken are counted as."""
        if self.is_hidden or self.is_special:
            return "hidden" if self.is_hidden else "special"
        extension = os.fsencode(os.path.splitext(self.name)[1].lower()).decode(errors="replace")
        return " ".join(extension.split()) or "without extension"

    @property
    def is_taken(self) -> bool:
        is_image = self.name.lower().endswith(EXTENSIONS) and not self.is_special
        return not self.is_hidden and (self.is_folder or is_image)


def is_listed(name: str) -> bool:
    """Returns whether a walk takes a file, by its path relative to the folder, with forward slashes."""
    *folders, file = name.split("/")
    children = [*(_Child(folder, is_folder=True) for folder in folders), _Child(file, is_folder=False)]
    return all(child.is_taken for child in children)


class FolderWalk:
    """What a walk through a folder finds. Names that begin with a dot are counted, but not visited.

    Args:
        folder: On this machine, or at an address that TensorFlow knows, such as `gs://bucket/folder`.

    Attributes:
        images: Paths of image files relative to the folder, with forward slashes, sorted.
        pictures: How many pictures in other formats there are, by extension.
        others: How many other files there are, by extension; those whose names begin with a dot are `hidden`,
            pipes and devices `special`.
        repeated: How many links lead to a file or folder that is listed already.
        top_folders: Names of the folders directly in it, sorted.

    Raises:
        DataError: The name of an image or a folder is not text of one line, a folder cannot be read, or a
            link leads to itself.

    Example:
        >>> FolderWalk("pictures").others
        Counter({'.txt': 2})
    """

    def __init__(self, folder: str) -> None:
        self.images: list[str] = []
        self.pictures: collections.Counter[str] = collections.Counter()
        self.others: collections.Counter[str] = collections.Counter()
        self.repeated = 0
        self._seen: set[str] = set()
        self.top_folders = [child.name for child in _children(folder) if child.is_folder and child.is_taken]
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
        for child in _children(folder):
            if not child.is_taken:
                counts = self.pictures if child.kind in OTHER_PICTURES else self.others
                counts[child.kind] += 1
                continue
            path = os.path.join(folder, child.name)
            relative = prefix + _checked(child.name, folder)
            if _is_link(path):
                links.append((path, relative, child.is_folder))
            elif child.is_folder:
                self._visit(path, f"{relative}/", links)
            else:
                self._add(os.path.join(real, child.name), relative)

    def _add(self, real: str, relative: str) -> None:
        if not self._is_repeated(real):
            self.images.append(relative)

    def _is_repeated(self, real: str) -> bool:
        if real in self._seen:
            self.repeated += 1
            return True
        self._seen.add(real)
        return False


def _children(folder: str) -> list[_Child]:
    """What a folder holds, sorted by name."""
    if _is_remote(folder):
        _, folders, files = next(tf.io.gfile.walk(folder))
        return sorted(
            [*(_Child(name.rstrip("/"), True) for name in folders), *(_Child(name, False) for name in files)]
        )
    try:
        with os.scandir(folder) as entries:
            return sorted(map(_local_child, entries))
    except OSError as error:
        raise DataError(
            f"{error.filename!r} cannot be read ({error.strerror}); repair or remove it, or move it away."
        ) from error


def _local_child(entry: os.DirEntry[str]) -> _Child:
    is_folder = entry.is_dir()
    is_special = not is_folder and not entry.is_file() and os.path.exists(entry.path)
    return _Child(entry.name, is_folder, is_special)


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
    if name.splitlines() != [name]:
        raise DataError(f"The folder {folder!r} holds the name {name!r}, which has a line break; rename it.")
    return name
