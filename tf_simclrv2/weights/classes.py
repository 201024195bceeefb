"""The classes of a classifier on disk: read beside its weights, and compared with those of data."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import tensorflow as tf

from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import CLASS_NAMES_FILE


def class_names_of(path: str) -> tuple[str, ...] | None:
    """Reads the class names that lie beside weights.

    Args:
        path: A model_dir, a `ckpt-N` prefix inside one, or a SavedModel.

    Returns:
        The names by label; None where there is no `labels.txt`, or an empty one.

    Raises:
        CheckpointError: It is not text.

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


def _lines(path: str) -> tuple[str, ...] | None:
    try:
        with tf.io.gfile.GFile(path) as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); it is damaged: write the class names into it, one a line."
        ) from error
    # Not `splitlines`, which also ends a line at characters that a folder's name may hold.
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text else None


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes that a classifier tells apart.

    Attributes:
        owner: Whose classes they are, for messages.
        path: Where its weights are.
        count: How many; 0 without a classifier.
        cure: What would do where data has other classes, for messages.
        names: By label; None where they are not known.
    """

    owner: str
    path: str
    count: int
    cure: str
    names: tuple[str, ...] | None

    @classmethod
    def beside(cls, path: str, count: int, owner: str, cure: str) -> Classes:
        """Reads the names beside weights.

        Args:
            path: As `class_names_of` takes it.
            count: Outputs of the classifier.
            owner: See the class.
            cure: See the class.

        Raises:
            CheckpointError: `labels.txt` is not text, or has another number of names.
        """
        names = class_names_of(path) if count else None
        if names is not None and len(names) != count:
            raise CheckpointError(
                f"{owner} tells {count} classes apart, but {CLASS_NAMES_FILE} beside it has {len(names)} "
                f"name(s); bring {CLASS_NAMES_FILE} back as it was, or remove it."
            )
        return cls(owner, path, count, cure, names)

    def refuse_other(self, other: str, names: Sequence[str]) -> None:
        """Checks that something else has the same classes in the same order, as far as known.

        Args:
            other: What has `names`, for the message.
            names: Class names by label; () where it has no labels.

        Raises:
            ConfigError: It has others, and which is the first.
        """
        if not (self.count and names):
            return
        if self.names is not None:
            refuse_other_class_names(self.owner, self.names, other, names, self.cure)
        elif len(names) != self.count:
            raise ConfigError(
                f"{self.owner} tells {self.count} classes apart, but {other} has {len(names)}; {self.cure}."
            )

    @property
    def doubt(self) -> str:
        """What to tell the user where the names are not known; else empty."""
        if not self.count or self.names is not None:
            return ""
        return (
            f"{self.owner} has no {CLASS_NAMES_FILE}: of its {self.count} classes only the number can be "
            "compared, not the names"
        )
