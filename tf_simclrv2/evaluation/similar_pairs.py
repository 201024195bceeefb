"""All pairs of rows whose cosine is above a limit, by exhaustive comparison on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.evaluation.device_rows import blocks_on_host

# Rows that are compared with as many others at once.
_ROWS = 4096


class Pairs(NamedTuple):
    """Pairs of rows.

    Attributes:
        first: int [P], rows of the first array.
        second: int [P], rows of the second array.
        cosine: float32 [P].
    """

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray


def similar_pairs(first: np.ndarray, second: np.ndarray | None, least: float) -> Iterator[Pairs]:
    """Yields the pairs whose cosine is above a limit.

    Args:
        first: [N, D]; may be memory-mapped.
        second: [M, D], the rows to compare with; None compares each two rows of `first` once.
        least: The limit.

    Yields:
        The pairs within a block of rows of each array, in the order of the rows.
    """
    others = first if second is None else second
    for start, block in _unit_blocks(first):
        # Within one array, what comes before was compared with this block already.
        begin = start if second is None else 0
        for other_start, other in _unit_blocks(others[begin:]):
            rows, cosines = _above(block, other, tf.constant(least))
            i, j = rows.numpy().T + np.array([[start], [begin + other_start]])
            kept = i < j if second is None else slice(None)
            yield Pairs(i[kept], j[kept], cosines.numpy()[kept])


def _unit_blocks(rows: np.ndarray) -> Iterator[tuple[int, tf.Tensor]]:
    for number, block in enumerate(blocks_on_host(rows, _ROWS)):
        yield number * _ROWS, tf.math.l2_normalize(tf.cast(block, tf.float32), axis=1)


@tf.function(autograph=False, reduce_retracing=True)
def _above(a: tf.Tensor, b: tf.Tensor, least: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    cosines = exact_matmul(a, b, transpose_b=True)
    rows = tf.where(cosines > least)
    return rows, tf.gather_nd(cosines, rows)
