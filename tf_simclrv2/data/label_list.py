"""A list of images whose labels may be used, as the published subsets of ImageNet are: one name per line."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os

import tensorflow as tf

from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.errors import DataError


def is_list(path: str) -> bool:
    """Returns whether a file of labels is a list of names only, by its extension."""
    return path.endswith(".txt")


@dataclasses.dataclass(frozen=True)
class LabelList:
    """Names of images that keep the labels they have; others of the same split lose theirs.

    Attributes:
        path: The file.
        names: Of the images: their paths in the data, or their file names alone.

    Example:
        >>> LabelList.read("1percent.txt").chooses("n02105855/n02105855_2933.JPEG")
        True
    """

    path: str
    names: tuple[str, ...]

    @classmethod
    def read(cls, path: str) -> LabelList:
        """Reads a file.

        Raises:
            DataError: It cannot be read, is empty, or names an image twice.
        """
        try:
            with open(path, encoding="utf-8-sig") as file:
                names = [line.strip() for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"The list {path!r} cannot be read ({error}); write a text file with one name per line."
            ) from error
        if not names:
            raise DataError(f"{path!r} names no images; write one name per line.")
        if len(set(names)) < len(names):
            [(twice, _)] = collections.Counter(names).most_common(1)
            raise DataError(f"{path!r} names {twice!r} more than once; give each image one line.")
        return cls(path, tuple(names))

    def chooses(self, name: str) -> bool:
        """Returns whether the list names an image, by its path in the data or by its file name."""
        return name in self._known or os.path.basename(name) in self._known

    def keep(self, names: list[str], labels: tuple[int, ...]) -> tuple[int, ...] | None:
        """Returns the labels of a split's images, -1 for those it does not name; None if it names none.

        Raises:
            DataError: A file name alone is that of several images.
        """
        self._refuse_ambiguous(names)
        chosen = [self.chooses(name) for name in names]
        if not any(chosen):
            return None
        return tuple(label if kept else UNLABELED for label, kept in zip(labels, chosen, strict=True))

    def _refuse_ambiguous(self, names: list[str]) -> None:
        meant: dict[str, str] = {}
        for name in names:
            base = os.path.basename(name)
            if base not in self._known:
                continue
            if (other := meant.setdefault(base, name)) != name:
                raise DataError(
                    f"{self.path!r} names {base!r}, which is the file name of {other!r} and of {name!r}; "
                    "write their paths."
                )

    def table(self) -> tf.lookup.StaticHashTable:
        """Returns a table of 1 for a file name of the list and 0 for any other, for use in a pipeline."""
        names = list(dict.fromkeys(os.path.basename(name) for name in self.names))
        ones = tf.ones([len(names)], tf.int64)
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, ones), 0)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)
