"""Matrix products in full float32, whatever the device would make of them by default.

GPUs may round the factors of a float32 product to TensorFloat-32 (10 bits of mantissa instead of 23), and
TPUs to bfloat16. TensorFlow switches that for the whole process only. XLA takes a precision for each product,
through an operation that TensorFlow has no public name for.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.private_api import exact_dot as dot


def exact_matmul(
    a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> tf.Tensor:
    """Multiplies two matrices in the precision of their dtype; its gradients are products of the same kind.

    Losses, similarities and statistics use it, so that `tf32` changes only what layers compute. On a CPU it
    is `tf.matmul`. On a GPU, XLA compiles the product by itself if the step around it is not compiled.

    Args:
        a: [n, m], float32 or float64; [m, n] if `transpose_a`.
        b: [m, p], of the dtype of `a`; [p, m] if `transpose_b`.
        transpose_a: Whether `a` is transposed first.
        transpose_b: Whether `b` is transposed first.

    Returns:
        [n, p], of the dtype of `a`.

    Example:
        >>> similarity = exact_matmul(rows, rows, transpose_b=True)
    """
    if devices.on_cpu():
        return tf.matmul(a, b, transpose_a, transpose_b)
    multiply = _product if devices.on_tpu() else _compiled_product
    return multiply(a, b, transpose_a, transpose_b)


def _product(a: tf.Tensor, b: tf.Tensor, transpose_a: bool, transpose_b: bool) -> tf.Tensor:
    @tf.custom_gradient  # The operation has none.
    def product(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            da = dot(b, dy, transpose_b, True) if transpose_a else dot(dy, b, False, not transpose_b)
            db = dot(dy, a, True, transpose_a) if transpose_b else dot(a, dy, not transpose_a, False)
            return da, db

        return dot(a, b, transpose_a, transpose_b), gradient

    return product(a, b)


_compiled_product = tf.function(_product, autograph=False, jit_compile=True)
