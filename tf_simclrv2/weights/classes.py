"""Reads and writes the class names saved with a classifier, and compares them with those of a dataset."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import tensorflow as tf

from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.errors import CheckpointError, DataError
from tf_simclrv2.files import CLASS_NAMES_FILE, write_atomically


def class_names_of(path: str) -> tuple[str, ...] | None:
    """Reads the class names saved with weights.

    Args:
        path: A model_dir, a `ckpt-N` prefix inside one, or a SavedModel.

    Returns:
        The names by label; None where there is no `labels.txt`, or an empty one.

    Raises:
        CheckpointError: `labels.txt` is not text.

    Example:
        >>> class_names_of("/tmp/run/ckpt-10")
        ('cat', 'dog')
    """
    directory = path if tf.io.gfile.isdir(path) else os.path.dirname(path)
    for folder in (directory, os.path.join(directory, "assets")):
        file = os.path.join(folder, CLASS_NAMES_FILE)
        if tf.io.gfile.exists(file):
            return _lines(file)
    return None


def write_class_names(path: str, names: Sequence[str]) -> None:
    """Writes class names, one per line in the order of the labels.

    Args:
        path: The file; its directory exists.
        names: The names.
    """
    write_atomically(path, "".join(f"{name}\n" for name in names))


def _lines(path: str) -> tuple[str, ...] | None:
    try:
        with tf.io.gfile.GFile(path) as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); it is damaged: write the class names to it, one per line."
        ) from error
    # Not `splitlines`, which also ends a line at characters that a folder's name may hold.
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text else None


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a classifier.

    Attributes:
        owner: What has the classifier, for messages.
        path: The path of its weights.
        count: The number of classes; 0 without a classifier.
        cure: What to do if a dataset has other classes, for messages.
        names: Class names by label; None if they are not known.
    """

    owner: str
    path: str
    count: int
    cure: str
    names: tuple[str, ...] | None

    @classmethod
    def read(cls, path: str, count: int, owner: str, cure: str) -> Classes:
        """Reads the class names saved with weights.

        Args:
            path: See `class_names_of`.
            count: Outputs of the classifier.
            owner: See the class.
            cure: See the class.

        Raises:
            CheckpointError: `labels.txt` is not text, or its number of names is not `count`.
        """
        names = class_names_of(path) if count else None
        if names is not None and len(names) != count:
            raise CheckpointError(
                f"{owner} has {count} classes, but its {CLASS_NAMES_FILE} has {len(names)} name(s); restore "
                f"{CLASS_NAMES_FILE}, or remove it."
            )
        return cls(owner, path, count, cure, names)

    def refuse_other(self, other: str, names: Sequence[str]) -> None:
        """Refuses other class names than these, or another order.

        Only the numbers are compared if the names of the classifier are not known, and nothing if either
        side has no classes.

        Args:
            other: What has `names`, for the message.
            names: Class names by label; () if it has no labels.

        Raises:
            DataError: The classes differ; the message names the first that does.
        """
        if not (self.count and names):
            return
        if self.names is not None:
            refuse_other_class_names(self.owner, self.names, other, names, self.cure)
        elif len(names) != self.count:
            raise DataError(
                f"{self.owner} has {self.count} classes, but {other} has {len(names)}; {self.cure}."
            )

    @property
    def doubt(self) -> str:
        """A sentence for the user if the class names are not known; else empty."""
        if not self.count or self.names is not None:
            return ""
        return (
            f"{self.owner} has no {CLASS_NAMES_FILE}: only the number of its classes, {self.count}, can be "
            "compared, not their names"
        )
