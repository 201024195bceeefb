"""The parts of an embedding that is being computed, kept on disk so that it can be stopped and continued."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclrv2.directory_lock import LOCK_FILE, directory_lock
from tf_simclrv2.embedding.embedding_file import COLUMNS, unpickled
from tf_simclrv2.embedding.embeddings import Embeddings, Origin
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import read_json, write_atomically, write_json

_SETTINGS, _PART = "settings.json", "part-{:05d}.npz"


@contextlib.contextmanager
def embedding_parts(folder: str, settings: dict[str, Any], origin: Origin) -> Iterator[EmbeddingParts]:
    """Gives the parts of an embedding in a folder of their own, which no other program uses meanwhile.

    Parts of another embedding, with other settings, are removed.

    Args:
        folder: Where they are; made if missing.
        settings: Everything that the embedding depends on, as JSON holds it.
        origin: Of the embeddings.

    Raises:
        ConfigError: The folder holds other files, or another program uses it.
        OSError: The folder cannot be made.
    """
    os.makedirs(folder, exist_ok=True)
    _refuse_other_things(folder)
    with directory_lock(folder, "the folder", "wait until that has ended, or choose another --output"):
        if _settings_in(folder) != settings:
            for name in os.listdir(folder):
                if name != LOCK_FILE:
                    os.remove(os.path.join(folder, name))
            write_json(os.path.join(folder, _SETTINGS), settings)
        yield EmbeddingParts(folder, origin)


def _refuse_other_things(folder: str) -> None:
    found = [name for name in os.listdir(folder) if name != LOCK_FILE]
    if found and _SETTINGS not in found:
        raise ConfigError(
            f"{folder!r} holds {found[0]!r}, but the parts of the embeddings are kept there; move it away, "
            "or choose another --output."
        )


class EmbeddingParts:
    """Parts of an embedding, numbered files in a folder.

    Args:
        folder: Where they are.
        origin: Of the embeddings.

    Attributes:
        count: How many parts are complete.
    """

    def __init__(self, folder: str, origin: Origin) -> None:
        self._folder = folder
        self._origin = origin
        self.count = 0
        while os.path.exists(self._path(self.count)):
            self.count += 1

    def add(self, part: Embeddings, unreadable: list[str]) -> None:
        """Keeps a further part, and the names of the images that could not be read."""
        values = {attribute: unpickled(getattr(part, attribute)) for attribute in COLUMNS.values()}
        file = io.BytesIO()
        np.savez(file, vectors=part.vectors, unreadable=np.array(unreadable, str), **values)
        write_atomically(self._path(self.count), file.getvalue())
        self.count += 1

    def __iter__(self) -> Iterator[Embeddings]:
        """Yields the parts that hold images."""
        for number in range(self.count):
            with np.load(self._path(number)) as part:
                values = {attribute: part[attribute] for attribute in (*COLUMNS.values(), "vectors")}
            if len(values["names"]):
                yield Embeddings(**values, origin=self._origin)

    @property
    def images(self) -> int:
        """The number of images in all parts."""
        return sum(len(self._read(number, "names")) for number in range(self.count))

    @property
    def unreadable(self) -> list[str]:
        """The names of all images that could not be read."""
        return [name for number in range(self.count) for name in self._read(number, "unreadable").tolist()]

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, number: int, attribute: str) -> np.ndarray:
        with np.load(self._path(number)) as part:
            return part[attribute]

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, _PART.format(number))


def _settings_in(folder: str) -> dict[str, Any] | None:
    try:
        return read_json(os.path.join(folder, _SETTINGS))
    except (tf.errors.OpError, ValueError):
        return None
