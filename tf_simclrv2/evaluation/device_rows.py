"""Rows of an array on the host, block by block on the device, which may be too small for all of them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclrv2.host_memory import free_memory

# Bytes of prepared rows that stay on the device between two passes, unless its allocator says that they are
# too many.
KEPT = 2**34
# On a CPU they are a copy in the same memory.
KEPT_OF_FREE = 0.25


class DeviceRows:
    """Iterates over rows in blocks, as tensors on the device; each iteration is a pass over all of them.

    Rows that fit stay on the device after the first pass. Others are copied from the host in every pass, one
    block at a time, so that the array may be memory-mapped.

    Args:
        array: [N, D], any float.
        block: Rows of a block; the last one may have fewer.
        chosen: int [n], the rows to take, in this order; None takes all.
        prepare: Applied to each block on the device; by default nothing is.

    Attributes:
        dtype: Of the blocks: float64 if the array's is, else float32.

    Example:
        >>> sum(float(tf.reduce_sum(block)) for block in DeviceRows(features, 1024))
    """

    def __init__(
        self,
        array: np.ndarray,
        block: int,
        chosen: np.ndarray | None = None,
        prepare: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ) -> None:
        self.dtype = compute_dtype(array)
        self._array, self._block, self._chosen = array, block, chosen
        self._prepare = prepare
        self._kept: list[tf.Tensor] | None = None
        self._keeps = len(self) * array.shape[1] * self.dtype.size <= _room()

    def __len__(self) -> int:
        return len(self._array if self._chosen is None else self._chosen)

    def __iter__(self) -> Iterator[tf.Tensor]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tf.Tensor] = []
        for block in blocks_on_host(self._array, self._block, self._chosen):
            try:
                tensor = self._on_device(block)
            except tf.errors.ResourceExhaustedError:
                if not kept:
                    raise
                self._keeps = False
                kept.clear()
                tensor = self._on_device(block)
            if self._keeps:
                kept.append(tensor)
            yield tensor
        if self._keeps:
            self._kept = kept

    def _on_device(self, block: np.ndarray) -> tf.Tensor:
        tensor = tf.cast(tf.constant(block), self.dtype)
        return tensor if self._prepare is None else self._prepare(tensor)


def blocks_on_host(array: np.ndarray, block: int, chosen: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yields the rows of an array in blocks; arguments as of `DeviceRows`.

    Of a file that is mapped for reading, what has been used does not stay in this process's memory.
    """
    count = len(array if chosen is None else chosen)
    for start in range(0, count, block):
        rows = slice(start, start + block)
        yield array[rows] if chosen is None else array[chosen[rows]]
        _let_go(array)


def _let_go(array: np.ndarray) -> None:
    """Takes a file's pages out of this process; the operating system may still keep them."""
    if not isinstance(array, np.memmap) or array.mode != "r" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    mapped = array.base
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)


def compute_dtype(array: np.ndarray) -> tf.DType:
    """Returns the dtype in which an array's rows are computed with: float64 if it is that, else float32."""
    return tf.float64 if array.dtype == np.float64 else tf.float32


def _room() -> float:
    on_host = not tf.config.list_physical_devices("GPU")
    return min(KEPT, KEPT_OF_FREE * free_memory()) if on_host else KEPT
