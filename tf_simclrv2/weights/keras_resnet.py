"""The ResNets of `keras.applications` as weights to start from: by our paths, with all that can be folded.

They are the original ResNet: each strided block strides in its first 1x1 convolution, ours in the 3x3 one
(known as version 1.5). No weights make one compute what the other does, so these are a start and not a
network. What can be equal is. Keras's convolutions have biases, its batch norms another epsilon, and its
images are BGR from 0 to 255 minus a mean:

    Keras    y = γ (K * (255 x - m) + b - μ) / √(σ² + 1.001e-5)
    here     y = γ' (K * x - μ') / √(σ'² + 1e-5),  μ' = (μ - b + K·m) / 255,  σ' = σ / 255

with γ' = γ √(σ'² + 1e-5) / √(σ'² + 1.001e-5 / 255²). The kernel keeps its size, and the moving statistics are
those of the new output, so training mode agrees as well as inference. Beyond the first layer there is no m,
and 1 in the place of 255.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from tf_simclrv2.config import ModelConfig
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.models.batch_norm import EPSILON
from tf_simclrv2.models.resnet import BLOCKS_PER_GROUP
from tf_simclrv2.weights.keras_weights_file import KerasWeightsFile

# What differs, for the report of what was loaded.
OTHER_FUNCTION = (
    "the blocks of keras.applications have their stride in another convolution, so this network starts from "
    "its weights but computes something else"
)
_STEM = "conv1"
_KERAS_EPSILON = 1.001e-5
# What `keras.applications.resnet.preprocess_input` subtracts from blue, green and red.
_MEAN = np.array([103.939, 116.779, 123.68])
_LARGEST = 255.0
_DEPTHS = (50, 101, 152)
# The last convolution of each block.
_LAST_IN_BLOCK = re.compile(r"conv(\d+)_block(\d+)_3_conv/kernel$")
_CONV = ("kernel", "bias")
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


class _Unit(NamedTuple):
    """A convolution and the batch norm after it: our scopes, and what begins both names in Keras."""

    conv: str
    norm: str
    keras: str


class KerasResNet:
    """Reads the encoder of `keras.applications.ResNet50`, `ResNet101` or `ResNet152` by our paths.

    It has what the loader asks of a `CheckpointReader`. Layers on top of the encoder stay in the file.

    Args:
        path: A file that Keras saved.

    Attributes:
        name: The file.
        prefix: The file.
        model: The network; only its encoder is in the file.
        shapes: Shape of every variable of the encoder by our path, and of what else is in the file by its
            name there.

    Raises:
        CheckpointError: The file cannot be read, or holds another network.

    Example:
        >>> KerasResNet("resnet50.weights.h5").shapes["resnet/stem/conv_1/kernel"]
        (7, 7, 3, 64)
    """

    def __init__(self, path: str) -> None:
        self.name = self.prefix = path
        self._file = KerasWeightsFile(path)
        there = self._file.shapes
        depth = _depth(path, there)
        self.model = ModelConfig(resnet_depth=depth)
        units = list(_units(depth))
        known = [_name(unit.keras, variable) for unit in units for variable in (*_CONV, *_NORM)]
        missing = [name for name in known if name not in there]
        if missing:
            raise _other_network(path, f"lacks {len(missing)} variable(s), the first {missing[0]}")
        self._sources = {f"{unit.conv}/kernel": (unit.keras, "kernel") for unit in units}
        self._sources |= {f"{unit.norm}/{name}": (unit.keras, name) for unit in units for name in _NORM}
        self.shapes = {path: there[_name(*source)] for path, source in self._sources.items()}
        self.shapes |= {name: there[name] for name in sorted(there.keys() - set(known))}

    def tensor(self, key: str) -> np.ndarray:
        """Returns a variable of the encoder by our path, float64.

        Raises:
            CheckpointError: The file is damaged.
        """
        unit, variable = self._sources[key]
        if variable != "kernel":
            return self._norm(unit)[variable]
        kernel = self._read(unit, "kernel")
        return kernel[:, :, ::-1] if unit == _STEM else kernel

    def _norm(self, unit: str) -> dict[str, np.ndarray]:
        """A batch norm's variables, with whatever is folded into them."""
        gamma, beta, mean, variance = (self._read(unit, name) for name in _NORM)
        mean, scale = mean - self._read(unit, "bias"), 1.0
        if unit == _STEM:
            mean, scale = mean + np.einsum("hwio,i->o", self._read(unit, "kernel"), _MEAN), _LARGEST
        mean, variance, epsilon = mean / scale, variance / scale**2, _KERAS_EPSILON / scale**2
        gamma = gamma * np.sqrt((variance + EPSILON) / (variance + epsilon))
        return dict(zip(_NORM, (gamma, beta, mean, variance), strict=True))

    def _read(self, unit: str, variable: str) -> np.ndarray:
        return self._file.tensor(_name(unit, variable)).astype(np.float64)


def _name(unit: str, variable: str) -> str:
    return f"{unit}_{'conv' if variable in _CONV else 'bn'}/{variable}"


def _units(depth: int) -> Iterator[_Unit]:
    yield _Unit("resnet/stem/conv_1", "resnet/stem/norm_1", _STEM)
    for group, blocks in enumerate(BLOCKS_PER_GROUP[depth], 1):
        for block in range(1, blocks + 1):
            here, there = f"resnet/block_group{group}/block_{block}", f"conv{group + 1}_block{block}"
            if block == 1:
                yield _Unit(f"{here}/shortcut/conv", f"{here}/shortcut/norm", f"{there}_0")
            for i in (1, 2, 3):
                yield _Unit(f"{here}/conv_{i}", f"{here}/norm_{i}", f"{there}_{i}")


def _depth(path: str, names: Collection[str]) -> int:
    """Returns the depth with as many blocks in each group.

    Raises:
        CheckpointError: There is none.
    """
    found = {tuple(map(int, match.groups())) for name in names if (match := _LAST_IN_BLOCK.match(name))}
    counts = Counter(stage for stage, _ in found)
    blocks = tuple(counts[stage] for stage in (2, 3, 4, 5))
    for depth in _DEPTHS:
        if BLOCKS_PER_GROUP[depth] == blocks and not any("_preact_" in name for name in names):
            return depth
    if any(blocks):
        version = " of version 2" if "post_bn/beta" in names else ""
        raise _other_network(path, f"has {', '.join(map(str, blocks))} blocks{version}")
    layers = list(dict.fromkeys(name.split("/")[0] for name in names))
    raise _other_network(path, f"has the layers {', '.join(layers[:3])}, …" if layers else "has no layers")


def _other_network(path: str, problem: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} {problem}, so it is not a ResNet50, ResNet101 or ResNet152 of "
        "keras.applications, from which a run can start; save one of these, or pass a model_dir or published "
        "weights."
    )
