"""The network once more, in PyTorch: with which `serving.py` and `train_step.py` compare ours.

Modules are named as the variables of `tf_simclrv2.models.SimCLR`, so its weights fit in by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

BLOCKS_PER_GROUP = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
FEATURES = {depth: 512 if depth < 50 else 2048 for depth in BLOCKS_PER_GROUP}
EPSILON = 1e-5
_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def convolution(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded alike on every side."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride, padding=(kernel_size - 1) // 2, bias=False)


class Shortcut(nn.Module):
    """A 1x1 convolution and batch norm around the first block of a group."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, 1, stride)
        self.norm = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.shortcut = Shortcut(inputs, width, stride) if project else nn.Identity()
        self.conv_1 = convolution(inputs, width, 3, stride)
        self.norm_1 = nn.BatchNorm2d(width, EPSILON)
        self.conv_2 = convolution(width, width, 3)
        self.norm_2 = nn.BatchNorm2d(width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm_1(self.conv_1(x)))
        return functional.relu(self.norm_2(self.conv_2(y)) + self.shortcut(x))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.shortcut = Shortcut(inputs, 4 * width, stride) if project else nn.Identity()
        self.conv_1 = convolution(inputs, width, 1)
        self.norm_1 = nn.BatchNorm2d(width, EPSILON)
        self.conv_2 = convolution(width, width, 3, stride)
        self.norm_2 = nn.BatchNorm2d(width, EPSILON)
        self.conv_3 = convolution(width, 4 * width, 1)
        self.norm_3 = nn.BatchNorm2d(4 * width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm_1(self.conv_1(x)))
        y = functional.relu(self.norm_2(self.conv_2(y)))
        return functional.relu(self.norm_3(self.conv_3(y)) + self.shortcut(x))


class Stem(nn.Module):
    """A 7x7 convolution with stride 2 and a 3x3 max pooling with stride 2; for CIFAR one 3x3 convolution."""

    def __init__(self, cifar: bool) -> None:
        super().__init__()
        self.cifar = cifar
        self.conv_1 = convolution(3, 64, 3) if cifar else convolution(3, 64, 7, 2)
        self.norm_1 = nn.BatchNorm2d(64, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm_1(self.conv_1(x)))
        if self.cifar:
            return x
        # As SAME pads an even side in TensorFlow: windows hang over the bottom and the right only.
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)


def block_group(depth: int, inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """A row of blocks; the first one strides and has a projection shortcut."""
    block, expansion = (ResidualBlock, 1) if depth < 50 else (BottleneckBlock, 4)
    group = nn.Sequential()
    for i in range(blocks):
        first = i == 0
        group.add_module(
            f"block_{i + 1}",
            block(inputs if first else width * expansion, width, stride if first else 1, first),
        )
    return group


class Encoder(nn.Module):
    """Images to h."""

    def __init__(self, depth: int, cifar: bool = False) -> None:
        super().__init__()
        self.stem = Stem(cifar)
        groups = BLOCKS_PER_GROUP[depth]
        outputs = [FEATURES[depth] // 8 * 2**i for i in range(4)]
        self.block_group1 = block_group(depth, 64, 64, groups[0], 1)
        self.block_group2 = block_group(depth, outputs[0], 128, groups[1], 2)
        self.block_group3 = block_group(depth, outputs[1], 256, groups[2], 2)
        self.block_group4 = block_group(depth, outputs[2], 512, groups[3], 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block_group2(self.block_group1(self.stem(x)))
        return self.block_group4(self.block_group3(x)).mean((2, 3))


class ProjectionHead(nn.Module):
    """Three dense layers with batch norm; the last one has neither ReLU nor beta."""

    def __init__(self, features: int, out_dim: int) -> None:
        super().__init__()
        self.dense_1 = nn.Linear(features, features, bias=False)
        self.norm_1 = nn.BatchNorm1d(features, EPSILON)
        self.dense_2 = nn.Linear(features, features, bias=False)
        self.norm_2 = nn.BatchNorm1d(features, EPSILON)
        self.dense_3 = nn.Linear(features, out_dim, bias=False)
        self.norm_3 = nn.BatchNorm1d(out_dim, EPSILON)
        self.norm_3.bias = None

    def forward(self, h: Tensor) -> list[Tensor]:
        layer_1 = functional.relu(self.norm_1(self.dense_1(h)))
        layer_2 = functional.relu(self.norm_2(self.dense_2(layer_1)))
        return [h, layer_1, layer_2, self.norm_3(self.dense_3(layer_2))]


class TorchSimCLR(nn.Module):
    """Images to what the signature `serving_default` returns.

    Args:
        depth: 18, 34, 50, 101, 152 or 200.
        out_dim: Width of z.
        num_classes: Outputs of the classifier, which reads h.
        cifar: The stem for images of at most 32 pixels.

    Call arguments:
        images: float32 [N, 3, H, W] in [0, 1]; sides a multiple of 4, for the pooling's padding.
    """

    def __init__(self, depth: int, out_dim: int = 128, num_classes: int = 1000, cifar: bool = False) -> None:
        super().__init__()
        self.resnet = Encoder(depth, cifar)
        self.projection_head = ProjectionHead(FEATURES[depth], out_dim)
        self.supervised_head = nn.Linear(FEATURES[depth], num_classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        h = self.resnet(images)
        outputs = {f"proj_head_{i}": layer for i, layer in enumerate(self.projection_head(h))}
        return {"final_avg_pool": h, **outputs, "logits_sup": self.supervised_head(h)}

    def weights(self) -> dict[str, Tensor]:
        """Parameters and moving statistics by name: what ours has as variables."""
        return {name: x for name, x in self.state_dict().items() if not name.endswith("num_batches_tracked")}

    def load_weights(self, variables: Mapping[str, np.ndarray]) -> None:
        """Takes the weights of ours.

        Args:
            variables: By path, as `named_variables` gives them.

        Raises:
            ValueError: A name is missing or too many, or a shape differs.
        """
        weights = self.weights()
        names = {torch_name(path): path for path in variables}
        if names.keys() != weights.keys():
            raise ValueError(f"Other variables: {sorted(names.keys() ^ weights.keys())}.")
        for name, weight in weights.items():
            value = variables[names[name]]
            # HWIO to OIHW, and [inputs, outputs] to [outputs, inputs].
            value = {4: lambda x: x.transpose(3, 2, 0, 1), 2: np.transpose}.get(value.ndim, np.asarray)(value)
            if value.shape != tuple(weight.shape):
                raise ValueError(f"{name} has the shape {tuple(weight.shape)}, in TensorFlow {value.shape}.")
            weight.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def torch_name(path: str) -> str:
    """The name of a variable's twin: `resnet/stem/conv_1/kernel` is `resnet.stem.conv_1.weight`."""
    *modules, leaf = re.split("/", path)
    return ".".join([*modules, _LEAVES.get(leaf, leaf)])
