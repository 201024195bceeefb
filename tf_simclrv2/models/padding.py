"""Padding feature maps with the same number of zeros on every side."""

from __future__ import annotations

import tensorflow as tf


def pad_evenly(x: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Pads height and width by (kernel_size - 1) / 2 zeros on every side.

    Args:
        x: [N, H, W, C].
        kernel_size: Odd side of the kernel that will follow.

    Returns:
        [N, H + kernel_size - 1, W + kernel_size - 1, C].
    """
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
