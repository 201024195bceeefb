"""Keeps count of unreadable images, and stops the run when they are too many."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.some_names import some_names
from tf_simclrv2.errors import DataError

_NAMES_SHOWN = 5


class SkippedImages:
    """The distinct images of one source that could not be read.

    A pipeline omits an unreadable image and records it here. Once more than the tolerated
    number have failed, the pipeline's iterator raises a `tf.errors.OpError`; `check` then raises
    the same sentence as a plain `DataError`, and so does whatever runs in the context `explained`.

    Args:
        num_examples: Images in the source.
        max_fraction: Share of them that may be unreadable. Above 0, one always may; never all.

    Attributes:
        names: What could not be read, in order of discovery; then those of secondary sources.
        count: Number of names.
        limit: Most images of this source that may be unreadable.

    Example:
        >>> skipped = SkippedImages(num_examples=1000, max_fraction=0.01)
        >>> _ = skipped.record("train/broken.jpg")
        >>> skipped.count, skipped.limit
        (1, 10)
    """

    def __init__(self, num_examples: int, max_fraction: float = DataConfig.max_skipped_fraction) -> None:
        tolerated = max(1, math.floor(max_fraction * num_examples)) if max_fraction > 0 else 0
        self.num_examples = num_examples
        self.max_fraction = max_fraction
        self.limit = min(tolerated, num_examples - 1)  # With all skipped, a stream would never yield.
        self._names: dict[str, None] = {}
        self._beside: list[SkippedImages] = []
        self._lock = threading.Lock()  # tf.data calls from its own threads.

    @property
    def names(self) -> tuple[str, ...]:
        beside = [name for other in self._beside for name in other.names]
        return tuple(dict.fromkeys([*self._names, *beside]))

    @property
    def count(self) -> int:
        return len(self.names)

    def beside(self, num_examples: int) -> SkippedImages:
        """Returns a counter for a second source that is read in parallel, with its own limit.

        Of a few images all could be unreadable without ever reaching the limit of many.

        Args:
            num_examples: Images in the second source.
        """
        other = SkippedImages(num_examples, self.max_fraction)
        self._beside.append(other)
        return other

    def summary(self, source: str) -> str:
        """Returns a sentence that names the first of them.

        Args:
            source: Where they are.
        """
        return f"{self.count:,} of {self.num_examples:,} images of {source} cannot be read: {self.shown()}"

    def shown(self) -> str:
        """Returns the first few names, for a message."""
        return some_names(self.names, _NAMES_SHOWN)

    def record(self, name: str | bytes) -> np.bool_:
        """Adds an image, once however often it fails.

        Returns:
            False, the answer to "is it readable?".

        Raises:
            DataError: More images than the limit are unreadable.
        """
        with self._lock:
            self._names.setdefault(name.decode() if isinstance(name, bytes) else name)
        self.check()
        return np.False_

    def check(self) -> None:
        """Raises if too many images are unreadable.

        Raises:
            DataError: More images than the limit are unreadable.
        """
        names = tuple(self._names)
        if len(names) > self.limit:
            raise DataError(
                f"{len(names)} of {self.num_examples} images are unreadable, but at most {self.limit} may "
                f"be (max_skipped_fraction={self.max_fraction}): {some_names(names, _NAMES_SHOWN)}; "
                "repair or remove them, or raise the limit."
            )
        for other in self._beside:
            other.check()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turns the error of a pipeline that gave up on its images into the sentence that says so.

        Raises:
            DataError: More images than the limit are unreadable.
        """
        try:
            yield
        except (tf.errors.OpError, StopIteration):
            self.check()
            raise
