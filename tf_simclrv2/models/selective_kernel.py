"""Selective kernels (Li et al. 2019) as SimCLRv2 uses them: two 3x3 streams and a softmax between them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.models.folding import convolve_and_normalize
from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.norm import Norm
from tf_simclrv2.precision import full_precision

MIN_BOTTLENECK = 32


@keras.saving.register_keras_serializable("tf_simclrv2")
class SelectiveKernel(keras.layers.Layer):
    """Mixes two 3x3 streams channel by channel; takes the place of a bottleneck's 3x3 convolution.

    One convolution makes both streams. A small bottleneck on their pooled sum computes the weights of the
    mix.

    Args:
        filters: Channels of each stream and of the output.
        strides: Stride of the convolution.
        sk_ratio: Width of the bottleneck relative to `filters`, at least 32 channels.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.

    Input shape: [N, H, W, C].
    Output shape: [N, ⌈H / strides⌉, ⌈W / strides⌉, filters].

    Reference: SimCLRv2 section 3 ("SK"), arXiv 1903.06586.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        sk_ratio: float = 0.0625,
        batch_norm: Norm | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.sk_ratio = sk_ratio
        self.batch_norm = Norm.get(batch_norm)
        bottleneck = max(int(filters * sk_ratio), MIN_BOTTLENECK)
        self.streams = Conv2DFixedPadding(2 * filters, 3, strides, name="streams", dtype=self.dtype_policy)
        self.streams_norm = self.batch_norm.layer(name="streams_norm", dtype=self.dtype_policy)
        self.squeeze = Conv2DFixedPadding(bottleneck, 1, name="squeeze", dtype=self.dtype_policy)
        self.squeeze_norm = self.batch_norm.layer(name="squeeze_norm", dtype=self.dtype_policy)
        self.expand = Conv2DFixedPadding(2 * filters, 1, name="expand", dtype=self.dtype_policy)
        freeze_new_parts(self)

    def build(self, input_shape: tuple) -> None:
        self.streams.build(input_shape)
        self.streams_norm.build((None, None, None, 2 * self.filters))
        self.squeeze.build((None, None, None, self.filters))
        self.squeeze_norm.build((None, None, None, self.squeeze.filters))
        self.expand.build((None, None, None, self.squeeze.filters))

    def call(self, x: tf.Tensor, training: bool = False, update_statistics: bool = True) -> tf.Tensor:
        mode = {"training": training, "update_statistics": update_statistics}
        streams = convolve_and_normalize(self.streams, self.streams_norm, x, **mode)
        # Pooled before they are added: their sum would be one more feature map in memory.
        pooled = tf.add_n(
            tf.split(tf.reduce_mean(full_precision(streams), [1, 2], keepdims=True), 2, axis=-1)
        )
        hidden = self.squeeze_norm(self.squeeze(tf.cast(pooled, x.dtype)), **mode)
        logits = tf.stack(tf.split(full_precision(self.expand(hidden)), 2, axis=-1))
        mix = tf.unstack(tf.cast(tf.nn.softmax(logits, axis=0), x.dtype))
        first, second = tf.split(streams, 2, axis=-1)
        return first * mix[0] + second * mix[1]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*self.streams.compute_output_shape(input_shape)[:3], self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "strides": self.strides,
            "sk_ratio": self.sk_ratio,
            "batch_norm": self.batch_norm.to_dict(),
        }
        return {**super().get_config(), **config}
