"""The precision in which losses, norms and statistics are computed."""

from __future__ import annotations

import tensorflow as tf


def full_precision(x: tf.Tensor) -> tf.Tensor:
    """Casts half-precision floats to float32 and leaves float32 and float64 alone.

    Args:
        x: Any float tensor.

    Returns:
        `x`, float32 where it was bfloat16 or float16.

    Example:
        >>> full_precision(tf.ones([2], tf.bfloat16)).dtype
        tf.float32
    """
    return tf.cast(x, tf.float32) if x.dtype in (tf.bfloat16, tf.float16) else x
