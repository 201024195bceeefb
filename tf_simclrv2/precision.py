"""The precision in which losses, norms and statistics are computed."""

from __future__ import annotations

import tensorflow as tf


def full_precision(x: tf.Tensor) -> tf.Tensor:
    """Casts half-precision floats to float32 and returns float32 and float64 unchanged.

    Args:
        x: A float tensor of any shape.

    Returns:
        `x` as float32 if it is bfloat16 or float16, else `x` itself.

    Example:
        >>> full_precision(tf.ones([2], tf.bfloat16)).dtype
        tf.float32
    """
    return tf.cast(x, tf.float32) if x.dtype in (tf.bfloat16, tf.float16) else x
