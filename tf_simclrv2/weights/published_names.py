"""Names our variables as the published code does, in each of the three forms in which it saves them.

Names count the layers of each class in order of creation: `conv2d_5` is the sixth convolution, and in
every block the shortcut is made first. Attribute paths count the places in the published lists of layers,
some of which (identities, pooling, dropped-out blocks) hold no variables.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import keras

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.blocks import BottleneckBlock
from tf_simclrv2.models.resnet import ResNet
from tf_simclrv2.models.selective_kernel import SelectiveKernel
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation
from tf_simclrv2.models.variable_paths import named_variables


class PublishedName(NamedTuple):
    """The name of one variable, or of a scope, in each program.

    Attributes:
        path: Ours: `resnet/stem/conv_1/kernel`.
        tf2: The TF2 program's name: `resnet/conv2d_fixed_padding/conv2d/kernel`.
        attributes: The TF2 program's path of attributes:
            `resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel`.
        tf1: The TF1 program's name: `base_model/conv2d/kernel`.
    """

    path: str
    tf2: str
    attributes: str
    tf1: str

    def child(self, path: str = "", tf2: str = "", attributes: str = "", tf1: str = "") -> PublishedName:
        """Returns the name of a scope inside this one; a program without such a scope adds nothing."""
        steps = zip(self, (path, tf2, attributes, tf1), strict=True)
        return PublishedName(
            *(f"{scope}/{step}" if scope and step else scope or step for scope, step in steps)
        )


class _Walk:
    """Collects the names of variables in the published order of creation."""

    def __init__(self, norm: str) -> None:
        self.names: list[PublishedName] = []
        self._norm = norm
        self._counts: Counter[str] = Counter()

    def numbered(self, base: str) -> str:
        """Returns `base`, `base_1`, `base_2`, … on successive calls."""
        count = self._counts[base]
        self._counts[base] += 1
        return f"{base}_{count}" if count else base

    def add(self, layer: PublishedName, *variables: str) -> None:
        self.names += [layer.child(*[name] * 4) for name in variables]

    def conv(self, scope: PublishedName) -> None:
        """Adds a convolution without bias, inside the published layer that pads its input."""
        self.pointwise(scope.child(tf2=self.numbered("conv2d_fixed_padding"), attributes="conv2d"))

    def pointwise(self, scope: PublishedName, *bias: str) -> None:
        name = self.numbered("conv2d")
        self.add(scope.child(tf2=name, tf1=name), "kernel", *bias)

    def norm(self, scope: PublishedName, layer: BatchNormRelu, tf1: str = "") -> None:
        outer, inner = self.numbered("batch_norm_relu"), self.numbered(self._norm)
        scope = scope.child("", f"{outer}/{inner}", "bn", tf1 or inner.removeprefix("sync_"))
        self.add(scope, "gamma", *(["beta"] if layer.center else []), "moving_mean", "moving_variance")

    def dense(self, scope: PublishedName, *bias: str) -> None:
        self.add(scope.child("", self.numbered("dense"), "dense", "dense"), "kernel", *bias)

    def selective_kernel(self, scope: PublishedName, layer: SelectiveKernel) -> None:
        scope = scope.child(tf2=self.numbered("sk__conv2d"))
        self.conv(scope.child("streams", attributes="conv2d_fixed_padding"))
        self.norm(scope.child("streams_norm", attributes="batch_norm_relu"), layer.streams_norm)
        self.pointwise(scope.child("squeeze", attributes="conv2d_0"))
        self.norm(scope.child("squeeze_norm", attributes="batch_norm_relu_1"), layer.squeeze_norm)
        self.pointwise(scope.child("expand", attributes="conv2d_1"))

    def squeeze_excitation(self, scope: PublishedName) -> None:
        scope = scope.child(tf2=self.numbered("se__layer"))
        self.pointwise(scope.child("reduce", attributes="se_reduce"), "bias")
        self.pointwise(scope.child("expand", attributes="se_expand"), "bias")

    def block(self, scope: PublishedName, block: keras.layers.Layer) -> None:
        bottleneck = isinstance(block, BottleneckBlock)
        scope = scope.child(tf2=self.numbered("bottleneck_block" if bottleneck else "residual_block"))
        shortcut, branch = (
            ("projection_layers", "conv_relu_dropblock_layers")
            if bottleneck
            else ("shortcut_layers", "conv2d_bn_layers")
        )
        if block.shortcut is not None:
            # A ResNet-D shortcut pools first, and pads before that where it strides.
            place = 0 if not block.shortcut.resnet_d else 1 if block.strides == 1 else 2
            self.conv(scope.child("shortcut/conv", attributes=f"{shortcut}/{place}"))
            self.norm(scope.child("shortcut/norm", attributes=f"{shortcut}/{place + 1}"), block.shortcut.norm)
        place = 0
        for layer in block.branch:
            here = scope.child(layer.name, attributes=f"{branch}/{place}")
            place += 1
            if isinstance(layer, SqueezeExcitation):
                self.squeeze_excitation(here if bottleneck else scope.child(layer.name, "", "se_layer"))
            elif isinstance(layer, SelectiveKernel):
                self.selective_kernel(here, layer)
            elif isinstance(layer, BatchNormRelu):
                self.norm(here, layer)
            else:
                self.conv(here)
            # In a bottleneck, a layer without variables follows every activation.
            place += bottleneck and isinstance(layer, BatchNormRelu | SelectiveKernel)

    def resnet(self, scope: PublishedName, resnet: ResNet) -> None:
        last = len(resnet.stem.convs) - 1
        for i, (conv, norm) in enumerate(zip(resnet.stem.convs, resnet.stem.norms, strict=True)):
            # An identity named `initial_conv` stands before the last batch norm.
            places = (2 * i, 2 * i + 1 + (i == last))
            conv_scope, norm_scope = (
                scope.child(f"stem/{layer.name}", attributes=f"initial_conv_relu_max_pool/{place}")
                for layer, place in zip((conv, norm), places, strict=True)
            )
            self.conv(conv_scope)
            self.norm(norm_scope, norm)
        for i, group in enumerate(resnet.block_groups):
            for j, block in enumerate(group.blocks):
                self.block(
                    scope.child(
                        f"{group.name}/{block.name}", f"block_group{i + 1}", f"block_groups/{i}/layers/{j}"
                    ),
                    block,
                )


def name_variables(network: SimCLR) -> list[PublishedName]:
    """Names every variable of a network as each program does.

    Args:
        network: A network; it need not be built, so this costs no memory.

    Returns:
        The names, in the published order of creation.
    """
    walk = _Walk("sync_batch_normalization" if network.config.global_bn else "batch_normalization")
    walk.resnet(PublishedName("resnet", "resnet", "resnet_model", "base_model"), network.resnet)
    head = PublishedName("projection_head", "projection_head", "_projection_head", "head_contrastive")
    for i, norm in enumerate(network.projection_head.norms):
        layer = f"{'nl' if network.config.proj_head_mode == 'nonlinear' else 'l'}_{i}"
        scope = head.child("", layer, f"linear_layers/{i}", layer)
        walk.dense(scope.child(f"dense_{i + 1}"))
        walk.norm(scope.child(norm.name, attributes="bn_relu"), norm, tf1="batch_normalization")
    if network.supervised_head is not None:
        # The published head makes its classifier after all projection layers, used or not.
        for _ in range(network.config.num_head_layers - len(network.projection_head.norms)):
            walk.numbered("dense")
        scope = PublishedName("supervised_head", "head_supervised", "supervised_head", "head_supervised")
        walk.dense(scope.child("", *["linear_layer"] * 3), "bias")
    return walk.names


def published_names(model: SimCLR) -> dict[str, keras.Variable]:
    """Returns the published TF2 code's name of every variable of a network.

    Args:
        model: A built network.

    Returns:
        Variables by published name, in the published order of creation. For example,
        `resnet/conv2d_fixed_padding/conv2d/kernel` is the kernel of the stem.

    Example:
        >>> published_names(model)["head_supervised/linear_layer/dense_3/bias"].shape
        TensorShape([10])
    """
    variables = named_variables(model)
    return {name.tf2: variables[name.path] for name in name_variables(model)}
