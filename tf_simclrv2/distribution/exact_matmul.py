"""Matrix products in full float32, whatever the device would make of them by default.

GPUs may round the factors of a float32 product to TensorFloat-32 (10 bits of mantissa instead of 23), and
TPUs to bfloat16. TensorFlow switches that for the whole process only. XLA takes a precision for each product,
through an operation that TensorFlow has no public name for.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.compiler.xla import xla_data_pb2

from tf_simclrv2.distribution import devices


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
            da = _dot(b, dy, transpose_b, True) if transpose_a else _dot(dy, b, False, not transpose_b)
            db = _dot(dy, a, True, transpose_a) if transpose_b else _dot(a, dy, not transpose_a, False)
            return da, db

        return _dot(a, b, transpose_a, transpose_b), gradient

    return product(a, b)


_compiled_product = tf.function(_product, autograph=False, jit_compile=True)


def _dot(a: tf.Tensor, b: tf.Tensor, transpose_a: bool, transpose_b: bool) -> tf.Tensor:
    dimensions = xla_data_pb2.DotDimensionNumbers(
        lhs_contracting_dimensions=[0 if transpose_a else 1],
        rhs_contracting_dimensions=[1 if transpose_b else 0],
    )
    precision = xla_data_pb2.PrecisionConfig(operand_precision=[xla_data_pb2.PrecisionConfig.HIGHEST] * 2)
    return xla.dot_general(a, b, dimensions, precision)
