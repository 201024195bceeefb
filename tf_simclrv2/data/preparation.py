"""Datasets that TFDS writes to disk when they are first used, by one process at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import tensorflow_datasets as tfds

try:
    import fcntl
except ImportError:  # Windows has no flock.
    fcntl = None


def prepare_dataset(make_builder: Callable[[], tfds.core.DatasetBuilder]) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset on disk, after writing it there or waiting for a process that does.

    Several trainings may start at once on a machine that has never seen their dataset, and TFDS removes the
    half-written files of one in the other.

    Args:
        make_builder: Makes the builder; called again after a wait, since a builder reads what is there when
            it is made.

    Raises:
        Exception: Whatever TFDS raises where it cannot download or write.

    Example:
        >>> prepare_dataset(lambda: Digits(data_dir="data")).info.splits["train"].num_examples
        1437
    """
    builder = make_builder()
    # TFDS takes the path for a pattern here, which another directory may match.
    if builder.data_path.exists() and builder.is_prepared():
        return builder
    with _one_at_a_time(os.fspath(builder.data_path.parent.parent), builder.name):
        builder = make_builder()
        builder.download_and_prepare()
        return builder


@contextlib.contextmanager
def _one_at_a_time(data_dir: str, name: str) -> Iterator[None]:
    """Waits for the lock of a dataset, which ends with its process; continues where locks do not exist."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # TFDS says it better, or needs no writing.
            if fcntl is not None and "://" not in data_dir:
                os.makedirs(data_dir, exist_ok=True)
                file = held.enter_context(open(os.path.join(data_dir, f".{name}.lock"), "a"))
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
