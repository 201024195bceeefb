"""The published code's names for our variables.

Its names count the layers of each class in order of creation: `conv2d_5` is the sixth convolution,
and in every block the shortcut is made first. Walking our layers in the same order gives them all.
"""

from __future__ import annotations

from collections import Counter

import keras

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.blocks import ResidualBlock
from tf_simclrv2.models.resnet import ResNet
from tf_simclrv2.models.selective_kernel import SelectiveKernel
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation


class _Namer:
    """Collects names while a model is walked in the published order of creation."""

    def __init__(self, norm: str) -> None:
        self.names: dict[str, keras.Variable] = {}
        self._norm = norm
        self._counts: Counter[str] = Counter()

    def numbered(self, base: str) -> str:
        """`base`, `base_1`, `base_2`, … on successive calls."""
        count = self._counts[base]
        self._counts[base] += 1
        return f"{base}_{count}" if count else base

    def add(self, scope: str, layer: keras.layers.Layer, variables: tuple[str, ...]) -> None:
        for name in variables:
            if getattr(layer, name, None) is not None:
                self.names[f"{scope}/{name}"] = getattr(layer, name)

    def norm(self, scope: str, layer: BatchNormRelu) -> None:
        scope = f"{scope}/{self.numbered('batch_norm_relu')}/{self.numbered(self._norm)}"
        self.add(scope, layer, ("gamma", "beta", "moving_mean", "moving_variance"))

    def conv(self, scope: str, layer: keras.layers.Layer, fixed_padding: bool = True) -> None:
        if fixed_padding:
            scope = f"{scope}/{self.numbered('conv2d_fixed_padding')}"
        self.add(f"{scope}/{self.numbered('conv2d')}", layer, ("kernel", "bias"))

    def dense(self, scope: str, layer: keras.layers.Layer) -> None:
        self.add(f"{scope}/{self.numbered('dense')}", layer, ("kernel", "bias"))

    def selective_kernel(self, scope: str, layer: SelectiveKernel) -> None:
        scope = f"{scope}/{self.numbered('sk__conv2d')}"
        self.conv(scope, layer.streams)
        self.norm(scope, layer.streams_norm)
        self.conv(scope, layer.squeeze, fixed_padding=False)
        self.norm(scope, layer.squeeze_norm)
        self.conv(scope, layer.expand, fixed_padding=False)

    def squeeze_excitation(self, scope: str, layer: SqueezeExcitation) -> None:
        scope = f"{scope}/{self.numbered('se__layer')}"
        self.conv(scope, layer.reduce, fixed_padding=False)
        self.conv(scope, layer.expand, fixed_padding=False)

    def block(self, scope: str, block: keras.layers.Layer) -> None:
        base = "residual_block" if isinstance(block, ResidualBlock) else "bottleneck_block"
        scope = f"{scope}/{self.numbered(base)}"
        if block.shortcut is not None:
            self.conv(scope, block.shortcut.conv)
            self.norm(scope, block.shortcut.norm)
        for layer in block.branch:
            if isinstance(layer, BatchNormRelu):
                self.norm(scope, layer)
            elif isinstance(layer, SelectiveKernel):
                self.selective_kernel(scope, layer)
            elif isinstance(layer, SqueezeExcitation):
                self.squeeze_excitation(scope, layer)
            else:
                self.conv(scope, layer)

    def resnet(self, scope: str, resnet: ResNet) -> None:
        for conv, norm in zip(resnet.stem.convs, resnet.stem.norms, strict=True):
            self.conv(scope, conv)
            self.norm(scope, norm)
        for i, group in enumerate(resnet.block_groups, 1):
            for block in group.blocks:
                self.block(f"{scope}/block_group{i}", block)


def published_names(model: SimCLR) -> dict[str, keras.Variable]:
    """The published TF2 code's name of every variable of a model.

    Args:
        model: A built network.

    Returns:
        For example `resnet/conv2d_fixed_padding/conv2d/kernel` to the stem's kernel, in the published
        order of creation.

    Example:
        >>> published_names(model)["head_supervised/linear_layer/dense_3/bias"].shape
        TensorShape([10])
    """
    namer = _Namer("sync_batch_normalization" if model.config.global_bn else "batch_normalization")
    namer.resnet("resnet", model.resnet)
    head = model.projection_head
    for i, (dense, norm) in enumerate(zip(head.denses, head.norms, strict=True)):
        scope = f"projection_head/{'nl' if model.config.proj_head_mode == 'nonlinear' else 'l'}_{i}"
        namer.dense(scope, dense)
        namer.norm(scope, norm)
    if model.supervised_head is not None:
        # The published head makes its classifier after all projection layers, used or not.
        for _ in range(model.config.num_head_layers - len(head.denses)):
            namer.numbered("dense")
        namer.dense("head_supervised/linear_layer", model.supervised_head)
    return namer.names
