"""The encoder f(·): the paper's ResNets, 18 to 200 layers deep, of any width, with selective kernels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import RESNET_DEPTHS
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.models.blocks import BottleneckBlock, ResidualBlock
from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.keras_file import KerasFileModel
from tf_simclrv2.models.norm import Norm
from tf_simclrv2.models.rematerialize import rematerialize
from tf_simclrv2.precision import full_precision

BLOCKS_PER_GROUP = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
GROUP_WIDTHS = (64, 128, 256, 512)


@keras.saving.register_keras_serializable("tf_simclrv2")
class Stem(keras.layers.Layer):
    """Applies the layers before the first block group.

    The CIFAR stem, for images of at most 32 pixels, is one 3x3 convolution. The others are a 7x7 convolution
    with stride 2 (`imagenet`) or three 3x3 ones (`resnet_d`), then a 3x3 max pooling with stride 2.

    Args:
        filters: Output channels.
        kind: `cifar`, `imagenet` or `resnet_d`.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.

    Output: `(initial_conv, initial_max_pool)`: before the last batch norm, and after the pooling.
    """

    def __init__(
        self,
        filters: int,
        kind: str,
        batch_norm: Norm | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kind = kind
        self.batch_norm = Norm.get(batch_norm)
        convolutions = {
            "cifar": [(filters, 3, 1)],
            "imagenet": [(filters, 7, 2)],
            "resnet_d": [(filters // 2, 3, 2), (filters // 2, 3, 1), (filters, 3, 1)],
        }[kind]
        self.convs = [
            Conv2DFixedPadding(*conv, name=f"conv_{i}", dtype=self.dtype_policy)
            for i, conv in enumerate(convolutions, 1)
        ]
        self.norms = [
            self.batch_norm.layer(name=f"norm_{i}", dtype=self.dtype_policy)
            for i in range(1, len(convolutions) + 1)
        ]
        freeze_new_parts(self)

    def build(self, input_shape: tuple) -> None:
        shape = (None, None, None, input_shape[-1])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
            norm.build(shape)

    def call(
        self, x: tf.Tensor, training: bool = False, update_statistics: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor]:
        initial_conv = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            initial_conv = conv(x)
            x = norm(initial_conv, training=training, update_statistics=update_statistics)
        if self.kind != "cifar":
            x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        return initial_conv, x

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "kind": self.kind,
            "batch_norm": self.batch_norm.to_dict(),
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tf_simclrv2")
class BlockGroup(keras.layers.Layer):
    """Applies a sequence of residual blocks; the first one strides and has a projection shortcut.

    Args:
        depth: Depth of the whole ResNet, which determines the kind of block.
        filters: Inner width of the blocks.
        num_blocks: Blocks in the group.
        strides: Stride of the first block.
        sk_ratio: See `SelectiveKernel`; 0 is off.
        se_ratio: See `SqueezeExcitation`; 0 is off.
        batch_norm: Settings of its batch norms; None for the defaults of `Norm`.
        rematerialize: See `ResNet`.
    """

    def __init__(
        self,
        depth: int,
        filters: int,
        num_blocks: int,
        strides: int,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        batch_norm: Norm | dict[str, Any] | None = None,
        rematerialize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.filters = filters
        self.num_blocks = num_blocks
        self.strides = strides
        self.sk_ratio = sk_ratio
        self.se_ratio = se_ratio
        self.batch_norm = Norm.get(batch_norm)
        self.rematerialize = rematerialize
        block = ResidualBlock if depth < 50 else BottleneckBlock
        self.blocks = [
            block(
                filters,
                strides if i == 0 else 1,
                use_projection=i == 0,
                sk_ratio=sk_ratio,
                se_ratio=se_ratio,
                batch_norm=self.batch_norm,
                name=f"block_{i + 1}",
                dtype=self.dtype_policy,
            )
            for i in range(num_blocks)
        ]
        freeze_new_parts(self)

    def build(self, input_shape: tuple) -> None:
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def call(self, x: tf.Tensor, training: bool = False, update_statistics: bool = True) -> tf.Tensor:
        for block in self.blocks:
            if self.rematerialize and training:
                x = rematerialize(block, x, update_statistics)
            else:
                x = block(x, training=training, update_statistics=update_statistics)
        return x

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        for block in self.blocks:
            input_shape = block.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {
            "depth": self.depth,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "strides": self.strides,
            "sk_ratio": self.sk_ratio,
            "se_ratio": self.se_ratio,
            "batch_norm": self.batch_norm.to_dict(),
            "rematerialize": self.rematerialize,
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tf_simclrv2")
class ResNet(KerasFileModel):
    """Encodes images as the representation h, and returns every intermediate endpoint.

    Args:
        depth: 18, 34, 50 (the default), 101, 152 or 200.
        width: Factor on all channel counts; 1 by default.
        sk_ratio: Bottleneck ratio of selective kernels. Above 0, the network has selective kernels (depth 50
            and deeper) and is a ResNet-D; 0 by default.
        se_ratio: Bottleneck ratio of squeeze-and-excitation. Above 0, the blocks have it; 0 by default.
        cifar_stem: If True, the stem is the one for images of at most 32 pixels; False by default.
        fine_tune_after_block: Freezes everything up to this block group: -1 (the default) freezes nothing, 0
            the stem, 4 the whole encoder. The frozen part runs in inference mode and has no trainable
            variables.
        batch_norm: Settings of its batch norms; None (the default) uses the defaults of `Norm`.
        rematerialize: If True, each residual block is recomputed in the backward pass instead of keeping its
            activations, which saves memory and takes about a third more time; False by default.

    Call arguments:
        images: float [N, H, W, C] in [0, 1].
        training: See `BatchNormRelu`.
        update_statistics: See `BatchNormRelu`.

    Output: A dict of `initial_conv`, `initial_max_pool`, `block_group1` … `block_group4`
        (feature maps) and `final_avg_pool` (h, [N, features]).

    Raises:
        ConfigError: `depth` is not one of the depths above, or `fine_tune_after_block` is not in -1 … 4.

    Example:
        >>> ResNet(depth=18, cifar_stem=True)(tf.zeros([2, 32, 32, 3]))["final_avg_pool"].shape
        TensorShape([2, 512])

    Reference: SimCLRv2 section 3 and Table 1.
    """

    def __init__(
        self,
        depth: int = 50,
        width: int = 1,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        cifar_stem: bool = False,
        fine_tune_after_block: int = -1,
        batch_norm: Norm | dict[str, Any] | None = None,
        rematerialize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if depth not in BLOCKS_PER_GROUP:
            raise ConfigError(f"depth is {depth}; choose one of {', '.join(map(str, RESNET_DEPTHS))}.")
        if not -1 <= fine_tune_after_block <= len(GROUP_WIDTHS):
            raise ConfigError(f"fine_tune_after_block is {fine_tune_after_block}; choose one of -1 to 4.")
        self.depth = depth
        self.width = width
        self.sk_ratio = sk_ratio
        self.se_ratio = se_ratio
        self.cifar_stem = cifar_stem
        self.fine_tune_after_block = fine_tune_after_block
        self.batch_norm = Norm.get(batch_norm)
        self.rematerialize = rematerialize
        shared = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        kind = "cifar" if cifar_stem else "resnet_d" if sk_ratio > 0 else "imagenet"
        self.stem = Stem(64 * width, kind, name="stem", **shared)
        self.block_groups = [
            BlockGroup(
                depth,
                filters * width,
                num_blocks,
                strides,
                sk_ratio,
                se_ratio,
                rematerialize=rematerialize,
                name=f"block_group{i}",
                **shared,
            )
            for i, (filters, num_blocks, strides) in enumerate(
                zip(GROUP_WIDTHS, BLOCKS_PER_GROUP[depth], (1, 2, 2, 2), strict=True), 1
            )
        ]
        for layer in [self.stem, *self.block_groups][: fine_tune_after_block + 1]:
            layer.trainable = False
        freeze_new_parts(self)

    @property
    def features(self) -> int:
        """Returns the width of h, which is the number of channels of the last block group."""
        return self.block_groups[-1].blocks[-1].out_filters

    def build(self, input_shape: tuple) -> None:
        self.stem.build(input_shape)
        shape = (None, None, None, self.stem.filters)
        for group in self.block_groups:
            group.build(shape)
            shape = group.compute_output_shape(shape)

    def call(
        self, images: tf.Tensor, training: bool = False, update_statistics: bool = True
    ) -> dict[str, tf.Tensor]:
        endpoints = {}
        endpoints["initial_conv"], x = self.stem(
            images, training=training and self.stem.trainable, update_statistics=update_statistics
        )
        endpoints["initial_max_pool"] = x
        for i, group in enumerate(self.block_groups, 1):
            # Backpropagation ends where the frozen part does.
            x = tf.stop_gradient(x) if i == self.fine_tune_after_block + 1 else x
            x = group(x, training=training and group.trainable, update_statistics=update_statistics)
            endpoints[f"block_group{i}"] = x
        x = tf.stop_gradient(x) if self.fine_tune_after_block == len(self.block_groups) else x
        endpoints["final_avg_pool"] = tf.cast(tf.reduce_mean(full_precision(x), axis=[1, 2]), x.dtype)
        return endpoints

    def get_config(self) -> dict[str, Any]:
        config = {
            "depth": self.depth,
            "width": self.width,
            "sk_ratio": self.sk_ratio,
            "se_ratio": self.se_ratio,
            "cifar_stem": self.cifar_stem,
            "fine_tune_after_block": self.fine_tune_after_block,
            "batch_norm": self.batch_norm.to_dict(),
            "rematerialize": self.rematerialize,
        }
        return {**super().get_config(), **config}
