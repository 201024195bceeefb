"""Residual blocks: two 3x3 convolutions (depths 18 and 34) or a bottleneck (depth 50 and deeper)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.models.folding import convolve_and_normalize
from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.norm import Norm
from tf_simclrv2.models.selective_kernel import SelectiveKernel
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation

BOTTLENECK_FACTOR = 4


def average_pool_2x2(x: tf.Tensor, strides: int) -> tf.Tensor:
    """Applies the 2x2 average pooling of a ResNet-D shortcut, padded as in the published code.

    With stride 2, an odd side is padded with zeros, which count in the average. With stride 1, a window at
    the edge averages only the pixels that exist.

    Args:
        x: [N, H, W, C].
        strides: 1 or 2.

    Returns:
        [N, ⌈H / strides⌉, ⌈W / strides⌉, C].
    """
    if strides == 1:
        return tf.nn.avg_pool2d(x, 2, 1, "SAME")
    return tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]), 2, strides, "VALID")


@keras.saving.register_keras_serializable("tf_simclrv2")
class ProjectionShortcut(keras.layers.Layer):
    """Projects the input of a group's first block to the shape of its output: 1x1 convolution and batch norm.

    Args:
        filters: Output channels.
        strides: Stride of the block.
        resnet_d: If True, pools first and convolves with stride 1 (arXiv 1812.01187), as networks with
            selective kernels do.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        resnet_d: bool = False,
        batch_norm: Norm | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.resnet_d = resnet_d
        self.batch_norm = Norm.get(batch_norm)
        stride = 1 if resnet_d else strides
        self.conv = Conv2DFixedPadding(filters, 1, stride, name="conv", dtype=self.dtype_policy)
        self.norm = self.batch_norm.layer(relu=False, name="norm", dtype=self.dtype_policy)
        freeze_new_parts(self)

    def build(self, input_shape: tuple) -> None:
        self.conv.build(input_shape)
        self.norm.build((None, None, None, self.filters))

    def call(self, x: tf.Tensor, training: bool = False, update_statistics: bool = True) -> tf.Tensor:
        if self.resnet_d:
            x = average_pool_2x2(x, self.strides)
        return convolve_and_normalize(self.conv, self.norm, x, training, update_statistics)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        height, width = (None if side is None else -(-side // self.strides) for side in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "strides": self.strides,
            "resnet_d": self.resnet_d,
            "batch_norm": self.batch_norm.to_dict(),
        }
        return {**super().get_config(), **config}


class _Block(keras.layers.Layer):
    """Adds a branch of layers to an optional shortcut and applies ReLU: what both blocks have in common."""

    expansion = 1

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        use_projection: bool = False,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        batch_norm: Norm | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.use_projection = use_projection
        self.sk_ratio = sk_ratio
        self.se_ratio = se_ratio
        self.batch_norm = Norm.get(batch_norm)
        self.out_filters = filters * self.expansion
        self.shortcut = None
        if use_projection:
            self.shortcut = ProjectionShortcut(
                self.out_filters,
                strides,
                resnet_d=sk_ratio > 0,
                batch_norm=self.batch_norm,
                name="shortcut",
                dtype=self.dtype_policy,
            )
        self.branch = self._make_branch()
        if se_ratio > 0:
            self.branch.append(SqueezeExcitation(filters, se_ratio, name="se", dtype=self.dtype_policy))
        freeze_new_parts(self)

    def _make_branch(self) -> list[keras.layers.Layer]:
        raise NotImplementedError

    def _conv(self, filters: int, kernel_size: int, strides: int, name: str) -> Conv2DFixedPadding:
        return Conv2DFixedPadding(filters, kernel_size, strides, name=name, dtype=self.dtype_policy)

    def _norm(self, name: str, **kwargs: Any) -> BatchNormRelu:
        return self.batch_norm.layer(name=name, dtype=self.dtype_policy, **kwargs)

    def build(self, input_shape: tuple) -> None:
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        shape = (None, None, None, input_shape[-1])
        for layer in self.branch:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: tf.Tensor, training: bool = False, update_statistics: bool = True) -> tf.Tensor:
        mode = {"training": training, "update_statistics": update_statistics}
        shortcut = x if self.shortcut is None else self.shortcut(x, **mode)
        layers = iter(self.branch)
        for layer in layers:
            if isinstance(layer, Conv2DFixedPadding):  # Batch norm follows each.
                x = convolve_and_normalize(layer, next(layers), x, **mode)
            else:
                x = layer(x, **mode) if isinstance(layer, SelectiveKernel) else layer(x)
        return tf.nn.relu(x + shortcut)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        height, width = (None if side is None else -(-side // self.strides) for side in input_shape[1:3])
        return (input_shape[0], height, width, self.out_filters)

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "strides": self.strides,
            "use_projection": self.use_projection,
            "sk_ratio": self.sk_ratio,
            "se_ratio": self.se_ratio,
            "batch_norm": self.batch_norm.to_dict(),
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tf_simclrv2")
class ResidualBlock(_Block):
    """Applies two 3x3 convolutions around a shortcut, for depths 18 and 34.

    Args:
        filters: Output channels.
        strides: Stride of the first convolution.
        use_projection: Whether the shortcut is a `ProjectionShortcut` rather than the identity.
        sk_ratio: Above 0, the shortcut is that of ResNet-D. Selective kernels themselves need a bottleneck.
        se_ratio: See `SqueezeExcitation`; 0 is off.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.
    """

    def _make_branch(self) -> list[keras.layers.Layer]:
        return [
            self._conv(self.filters, 3, self.strides, "conv_1"),
            self._norm("norm_1"),
            self._conv(self.filters, 3, 1, "conv_2"),
            self._norm("norm_2", relu=False, init_zero=True),
        ]


@keras.saving.register_keras_serializable("tf_simclrv2")
class BottleneckBlock(_Block):
    """Applies a 1x1, a 3x3 and a 1x1 convolution around a shortcut, for depth 50 and deeper.

    Args:
        filters: Inner channels; the output has four times as many.
        strides: Stride of the 3x3 convolution.
        use_projection: Whether the shortcut is a `ProjectionShortcut` rather than the identity.
        sk_ratio: Above 0, a `SelectiveKernel` takes the place of the 3x3 convolution.
        se_ratio: See `SqueezeExcitation`; 0 is off.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.
    """

    expansion = BOTTLENECK_FACTOR

    def _make_branch(self) -> list[keras.layers.Layer]:
        if self.sk_ratio > 0:
            middle = [
                SelectiveKernel(
                    self.filters,
                    self.strides,
                    self.sk_ratio,
                    self.batch_norm,
                    name="sk",
                    dtype=self.dtype_policy,
                )
            ]
        else:
            middle = [self._conv(self.filters, 3, self.strides, "conv_2"), self._norm("norm_2")]
        return [
            self._conv(self.filters, 1, 1, "conv_1"),
            self._norm("norm_1"),
            *middle,
            self._conv(self.out_filters, 1, 1, "conv_3"),
            self._norm("norm_3", relu=False, init_zero=True),
        ]
