"""The memory of features: one array for all rows, on disk where memory is short."""

from __future__ import annotations

import math
import shutil
import tempfile

import numpy as np

from tf_simclrv2.errors import RunError
from tf_simclrv2.host_memory import free_memory

# Share of the free memory that one array may take; the next one may need as much.
OF_FREE = 0.5


class FeatureRows:
    """Collects rows in one array that is allocated when the first ones come.

    Args:
        most: The largest number of rows.

    Example:
        >>> rows = FeatureRows(most=1000)
        >>> rows.append(np.ones([256, 512], np.float32))
        >>> rows.filled.shape
        (256, 512)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._array: np.ndarray | None = None
        self._count = 0

    def append(self, rows: np.ndarray) -> None:
        """Appends rows to the existing ones.

        Args:
            rows: [n, ...], of the same shape and dtype each time.

        Raises:
            RunError: There is no room for so many rows.
        """
        if self._array is None:
            self._array = allocate((self._most, *rows.shape[1:]), rows.dtype)
        self._array[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    @property
    def filled(self) -> np.ndarray:
        """The rows so far, [count, ...]; a view."""
        return np.empty([0]) if self._array is None else self._array[: self._count]


def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Makes an array in memory if that has room, else in a temporary file that vanishes with the array.

    Args:
        shape: Of the array.
        dtype: Of the array.

    Returns:
        The array, whose values are arbitrary.

    Raises:
        RunError: The disk of temporary files has no room either.
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= OF_FREE * free_memory():
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RunError(
            f"the features take {size / 2**30:.1f} GiB, too much for the free memory, and {folder} has only "
            f"{free / 2**30:.1f} GiB free; set TMPDIR to a folder with more, or take fewer images."
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)
