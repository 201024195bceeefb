"""Infers the architecture of a published checkpoint from the names and shapes of its variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tf_simclrv2.config import ModelConfig
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.models.resnet import BLOCKS_PER_GROUP, GROUP_WIDTHS
from tf_simclrv2.models.selective_kernel import MIN_BOTTLENECK

Shape = tuple[int, ...]

# What the published programs call the parts of a network.
_PARTS = re.compile(
    r"(?P<encoder>resnet|resnet_model|base_model)/"
    r"|(?:projection_head|_projection_head|head_contrastive)/(?P<mode>nl_|l_|linear_layers/)(?P<layer>\d+)/"
    r"|(?P<classifier>head_supervised|supervised_head)/linear_layer/"
)
_VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
# A basic block has no selective kernels, so only the stem shows that they were on; this is the paper's ratio.
_PUBLISHED_SK_RATIO = 0.0625


class Architecture(NamedTuple):
    """What the shapes of a checkpoint's variables determine.

    Attributes:
        model: The network.
        classifier_layers: The head layers, counted from 0 = h, whose width fits the classifier.
    """

    model: ModelConfig
    classifier_layers: tuple[int, ...]


def is_model_variable(name: str) -> bool:
    """Returns whether a published name is a variable of the network, not of the optimizer or a counter."""
    return _PARTS.match(name) is not None and name.rsplit("/", 1)[-1] in _VARIABLES


def head_layer(name: str) -> int | None:
    """Returns the projection layer that a network's variable is in, counted from 0; None if in none."""
    layer = _PARTS.match(name)["layer"]
    return None if layer is None else int(layer)


def is_classifier(name: str) -> bool:
    """Returns whether a network's variable belongs to the classifier."""
    return _PARTS.match(name)["classifier"] is not None


def read_architecture(
    shapes: Mapping[str, Shape], global_bn: bool = True, ft_proj_selector: int | None = None
) -> Architecture:
    """Infers the network that a published checkpoint belongs to.

    Args:
        shapes: Shape of every model variable, by its name in any of the published programs.
        global_bn: Whether batch norm is over replicas, which the shapes do not show.
        ft_proj_selector: The head layer that feeds the classifier. None takes the first that fits; there
            may be several, because the middle layers are as wide as h.

    Raises:
        CheckpointError: No network has such variables.
        ConfigError: `ft_proj_selector` is a layer that does not fit the classifier.

    Example:
        >>> read_architecture(shapes).model.resnet_depth
        152
    """
    encoder = {name: shape for name, shape in shapes.items() if _PARTS.match(name)["encoder"]}
    body = _encoder_fields(encoder)
    head, widths = _head_fields(shapes)
    features = GROUP_WIDTHS[-1] * body["width_multiplier"] * (4 if body["resnet_depth"] >= 50 else 1)
    num_classes, layers = _classifier(shapes, (features, *widths), head.get("truncate_proj_head", False))
    if ft_proj_selector is not None and num_classes and ft_proj_selector not in layers:
        raise ConfigError(
            f"ft_proj_selector is {ft_proj_selector}, but the classifier fits layer(s) "
            f"{', '.join(map(str, layers))} of the head only; choose one of them."
        )
    selector = layers[0] if ft_proj_selector is None else ft_proj_selector
    model = ModelConfig(
        **body, **head, num_classes=num_classes, ft_proj_selector=selector, global_bn=global_bn
    )
    return Architecture(model, layers)


def _encoder_fields(variables: Mapping[str, Shape]) -> dict:
    kernels = {
        name.removesuffix("/kernel"): shape
        for name, shape in variables.items()
        if name.endswith("/kernel") and len(shape) == 4
    }
    gated = [shape for name, shape in kernels.items() if f"{name}/bias" in variables]
    plain = [shape for name, shape in kernels.items() if f"{name}/bias" not in variables]
    stem = next((shape for shape in plain if shape[2] == 3 and shape[0] > 1), None)
    if stem is None:
        raise CheckpointError("it has no convolution of RGB images, so it is not an encoder of SimCLR.")
    widest = max(shape[3] for shape in plain)
    bottleneck = (3, 3, widest, widest) not in plain
    width = widest // (4 * GROUP_WIDTHS[-1] if bottleneck else GROUP_WIDTHS[-1])
    filters = GROUP_WIDTHS[-1] * width
    kind = "imagenet" if stem[0] == 7 else "cifar" if stem[3] == GROUP_WIDTHS[0] * width else "resnet_d"
    depth = _depth(plain, kind, bottleneck)
    sk_ratio = _PUBLISHED_SK_RATIO if kind == "resnet_d" else 0.0
    if (3, 3, filters, 2 * filters) in plain:
        sk_ratio = _ratio(_selective_kernel_bottleneck(plain, depth, filters), filters, MIN_BOTTLENECK)
    gates = [shape[2] for shape in gated if shape[3] == widest]
    return {
        "resnet_depth": depth,
        "width_multiplier": width,
        "sk_ratio": sk_ratio,
        "se_ratio": _ratio(gates[0], filters, 1) if gates else 0.0,
        "image_size": 32 if kind == "cifar" else 224,
    }


def _depth(kernels: list[Shape], kind: str, bottleneck: bool) -> int:
    """Returns the depth with this many 3x3 convolutions: one per bottleneck block, two per basic block.

    For an incomplete checkpoint it is the nearest depth, so that the missing variables can be named.
    """
    in_stem = {"imagenet": 0, "cifar": 1, "resnet_d": 3}[kind]
    found = sum(shape[:2] == (3, 3) for shape in kernels) - in_stem
    expected = {
        depth: sum(blocks) * (1 if bottleneck else 2)
        for depth, blocks in BLOCKS_PER_GROUP.items()
        if bottleneck == (depth >= 50)
    }
    return min(expected, key=lambda depth: abs(expected[depth] - found))


def _selective_kernel_bottleneck(kernels: list[Shape], depth: int, filters: int) -> int:
    """Returns the bottleneck width of the selective kernels of group 4.

    It is the input width of the 1x1 convolutions to twice the group's filters, not counting those of group 3:
    the last convolution of each of its blocks, and its shortcut.
    """
    inputs = Counter(shape[2] for shape in kernels if shape[:2] == (1, 1) and shape[3] == 2 * filters)
    inputs -= Counter({filters // 2: BLOCKS_PER_GROUP[depth][2], filters: 1})
    return max(inputs, key=inputs.__getitem__, default=MIN_BOTTLENECK)


def _ratio(bottleneck: int, filters: int, least: int) -> float:
    """Returns the ratio that gives this bottleneck width; half a channel more if rounding would lose one."""
    exact = bottleneck / filters
    return exact if max(int(filters * exact), least) == bottleneck else (bottleneck + 0.5) / filters


def _head_fields(shapes: Mapping[str, Shape]) -> tuple[dict, list[int]]:
    """Returns the projection head's fields and the width of each of its layers."""
    layers: dict[int, dict[str, Shape]] = {}
    mode = "nonlinear"
    for name, shape in shapes.items():
        layer = head_layer(name)
        if layer is not None:
            mode = "linear" if _PARTS.match(name)["mode"] == "l_" else mode
            layers.setdefault(layer, {})[name.rsplit("/", 1)[-1]] = shape
    if not layers:
        return {"proj_head_mode": "none"}, []
    last = max(layers)
    # The last dimension of each of a layer's variables is its width.
    widths = [
        max((shape[-1] for shape in layers.get(i, {}).values() if shape), default=0) for i in range(last + 1)
    ]
    if "beta" in layers[last]:
        # The last layer of a whole head has no beta: this head was cut after the classifier's layer.
        num_layers = max(ModelConfig.num_proj_layers, last + 2)
        return {"num_proj_layers": num_layers, "truncate_proj_head": True}, widths
    fields = {"proj_head_mode": mode, "proj_out_dim": widths[-1]}
    return fields | ({"num_proj_layers": last + 1} if mode == "nonlinear" else {}), widths


def _classifier(
    shapes: Mapping[str, Shape], widths: tuple[int, ...], truncated: bool
) -> tuple[int, tuple[int, ...]]:
    """Returns the number of classes and the head layers that the classifier fits."""
    last = len(widths) - 1
    variables = {name.rsplit("/", 1)[-1]: shape for name, shape in shapes.items() if is_classifier(name)}
    if len(variables.get("kernel", ())) != 2:
        return (*variables.get("bias", ()), 0)[0], (last,) if truncated else (0,)
    inputs, num_classes = variables["kernel"]
    candidates = [last] if truncated else range(last + 1)
    layers = tuple(i for i in candidates if widths[i] == inputs)
    if not layers:
        raise CheckpointError(
            f"the classifier takes {inputs} features, but the layers of the head have "
            f"{', '.join(map(str, widths))}; is the checkpoint complete?"
        )
    return num_classes, layers
