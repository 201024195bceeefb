"""Squeeze-and-excitation (Hu et al. 2018): each channel is scaled by a gate that sees the whole image."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.precision import full_precision


@keras.saving.register_keras_serializable("tf_simclrv2")
class SqueezeExcitation(keras.layers.Layer):
    """Scales each channel at the end of a residual branch by a learned gate.

    Args:
        filters: The block's inner width; in a bottleneck this is a quarter of the gated channels.
        se_ratio: Width of the gate's hidden layer relative to `filters`.

    Input shape: [N, H, W, C].
    Output shape: The input shape.

    Reference: arXiv 1709.01507.
    """

    def __init__(self, filters: int, se_ratio: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.se_ratio = se_ratio
        self.reduce = self._pointwise(max(1, int(filters * se_ratio)), "reduce")

    def _pointwise(self, filters: int, name: str) -> keras.layers.Conv2D:
        kernel = keras.initializers.VarianceScaling(1.0, mode="fan_in", distribution="truncated_normal")
        return keras.layers.Conv2D(
            filters,
            1,
            data_format="channels_last",
            kernel_initializer=kernel,
            name=name,
            dtype=self.dtype_policy,
            trainable=self.trainable,  # One that is made after this was frozen would not hear of it.
        )

    def build(self, input_shape: tuple) -> None:
        self.expand = self._pointwise(input_shape[-1], "expand")
        self.reduce.build((None, 1, 1, input_shape[-1]))
        self.expand.build((None, 1, 1, self.reduce.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        pooled = tf.cast(tf.reduce_mean(full_precision(x), axis=[1, 2], keepdims=True), x.dtype)
        return x * tf.sigmoid(self.expand(tf.nn.relu(self.reduce(pooled))))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "se_ratio": self.se_ratio}
