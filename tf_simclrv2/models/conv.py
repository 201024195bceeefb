"""The convolution that all ResNets of this package are made of."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.models.kernel_gradient import conv2d_by_products, prefers_products
from tf_simclrv2.models.padding import pad_evenly


@keras.saving.register_keras_serializable("tf_simclrv2")
class Conv2DFixedPadding(keras.layers.Layer):
    """Convolves without bias, with a padding that depends on the kernel only, not on the input size.

    With stride 1 this is SAME padding. With a larger stride SAME would pad the bottom and right only, unlike
    the published networks.

    Args:
        filters: Output channels.
        kernel_size: Side of the square kernel.
        strides: Stride in both directions.

    Input shape: [N, H, W, C].
    Output shape: [N, ⌈H / strides⌉, ⌈W / strides⌉, filters].
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape: tuple) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.VarianceScaling(
                1.0, mode="fan_in", distribution="truncated_normal"
            ),
            autocast=False,  # `convolve` casts, after whatever is done to the kernel in full precision.
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.convolve(x, tf.convert_to_tensor(self.kernel))

    def convolve(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Applies the layer with another kernel of the same shape, such as one with batch norm folded in.

        Args:
            x: [N, H, W, C].
            kernel: [kernel_size, kernel_size, C, filters]; cast to the dtype of `x`.

        Returns:
            [N, ⌈H / strides⌉, ⌈W / strides⌉, filters], of the dtype of `x`.
        """
        kernel = tf.cast(kernel, x.dtype)
        before, side = (self.kernel_size - 1) // 2, x.shape[1]
        if side == x.shape[2] and side is not None and side <= min(self.strides, self.kernel_size - before):
            # There is one output position: the other taps meet nothing but padding.
            taps = kernel[before : before + side, before : before + side]
            return tf.nn.conv2d(x, taps, 1, "VALID")
        if self.strides == 1:
            if prefers_products(x, kernel):
                return conv2d_by_products(x, kernel)
            return tf.nn.conv2d(x, kernel, 1, "SAME")
        # Padding first, then VALID: on CPUs a strided convolution with explicit padding has a slow kernel.
        if self.kernel_size > 1:
            x = pad_evenly(x, self.kernel_size)
        return tf.nn.conv2d(x, kernel, self.strides, "VALID")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        height, width = (None if side is None else -(-side // self.strides) for side in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "kernel_size": self.kernel_size, "strides": self.strides}
        return {**super().get_config(), **config}
