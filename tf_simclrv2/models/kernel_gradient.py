"""The gradient of a convolution's kernel as matrix products, which are faster on a CPU in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.models.padding import pad_evenly

# The widest feature map whose shifted copies cost less than the products gain.
_WIDEST_MAP = 8


def prefers_products(x: tf.Tensor, kernel: tf.Tensor) -> bool:
    """Returns whether `conv2d_by_products` is the faster way to compute a convolution of stride 1.

    On a CPU in bfloat16 it is, for 1x1 kernels, and for larger ones where the feature map is small and
    channels are many. Accelerators always take TensorFlow's own op. So does an exported module, whose image
    size is unknown: it cannot carry a gradient of our own.

    Args:
        x: [N, H, W, C].
        kernel: [k, k, C, D].
    """
    sides = x.shape[1:3]
    if x.dtype != tf.bfloat16 or not sides.is_fully_defined() or not devices.on_cpu():
        return False
    return kernel.shape[0] == 1 or max(sides) <= _WIDEST_MAP


@tf.custom_gradient
def conv2d_by_products(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Convolves with stride 1 and SAME padding; the kernel's gradient comes from `kernel_gradient`.

    Args:
        x: [N, H, W, C].
        kernel: [k, k, C, D], k odd.

    Returns:
        [N, H, W, D].
    """

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        dx = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=[1, 1, 1, 1], padding="SAME"
        )
        return dx, kernel_gradient(x, dy, kernel.shape[0])

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient


def kernel_gradient(x: tf.Tensor, dy: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Computes the gradient of the kernel of a convolution of stride 1 with SAME padding.

    It makes one matrix product for each tap of the kernel.

    Args:
        x: [N, H, W, C], the convolution's input, H and W known.
        dy: [N, H, W, D], the gradient with respect to its output.
        kernel_size: Odd side k of the kernel.

    Returns:
        [k, k, C, D]; tap (i, j) is the sum over all positions of the input under it times dy.
    """
    height, width, channels = x.shape[1:]
    padded = pad_evenly(x, kernel_size)
    dy = tf.reshape(dy, [-1, dy.shape[-1]])

    def tap(i: int, j: int) -> tf.Tensor:
        under = padded[:, i : i + height, j : j + width]
        return tf.matmul(tf.reshape(under, [-1, channels]), dy, transpose_a=True)

    taps = range(kernel_size)
    return tf.stack([tf.stack([tap(i, j) for j in taps]) for i in taps])
