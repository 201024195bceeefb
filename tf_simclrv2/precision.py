"""The precision in which losses, norms and statistics are computed, and what layers may round."""

from __future__ import annotations

from typing import Literal

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


def set_tf32(asked: Literal["default", "on", "off"]) -> None:
    """Has layers round the factors of their float32 products to TensorFloat-32 or not, in the whole process.

    Args:
        asked: As `TrainingConfig.tf32`; `default` leaves it as it is.
    """
    if asked != "default":
        tf.config.experimental.enable_tensor_float_32_execution(asked == "on")
