"""Parameters grouped by what they are: LARS and weight decay treat the groups differently."""

from __future__ import annotations

import keras

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.optimization.lars import LARS
from tf_simclrv2.private_api import layers_within

Groups = dict[str, list[keras.Variable]]


def _leaf_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [child for child in layers_within(layer) if len(layers_within(child)) == 1]


def parameter_groups(model: SimCLR) -> Groups:
    """Groups the trainable variables of a model by what they are.

    Args:
        model: A built network.

    Returns:
        The lists `kernel`, `bias`, `batch_norm` and `supervised_head` (the classifier's kernel and bias), any
        of which may be empty. Every trainable variable is in exactly one of them.

    Example:
        >>> {name: len(group) for name, group in parameter_groups(model).items()}
        {'kernel': 24, 'bias': 0, 'batch_norm': 47, 'supervised_head': 2}
    """
    groups: Groups = {"kernel": [], "bias": [], "batch_norm": [], "supervised_head": []}
    for layer in _leaf_layers(model):
        for variable in layer.trainable_variables:
            if layer is model.supervised_head:
                kind = "supervised_head"
            elif isinstance(layer, BatchNormRelu | keras.layers.BatchNormalization):
                kind = "batch_norm"
            elif variable is getattr(layer, "bias", None):
                kind = "bias"
            else:
                kind = "kernel"
            groups[kind].append(variable)
    return groups


def exclude_from_lars(optimizer: LARS, groups: Groups) -> None:
    """Excludes all groups but the kernels from the weight decay and the trust ratio of LARS.

    Args:
        optimizer: The optimizer; it must not be built yet.
        groups: From `parameter_groups`.

    Raises:
        ValueError: The optimizer is built already.

    Reference: SimCLR appendix B.6; the published code excludes the same.
    """
    excluded = [v for kind, group in groups.items() if kind != "kernel" for v in group]
    optimizer.exclude_from_weight_decay(var_list=excluded)
    optimizer.exclude_from_layer_adaptation(excluded)


def describe_groups(groups: Groups, optimizer: str) -> str:
    """Describes each group in one line: its variables and parameters, and how the optimizer treats them.

    Args:
        groups: From `parameter_groups`.
        optimizer: `lars`, `momentum` or `adam`.

    Returns:
        The lines, joined; empty groups are left out.
    """
    lars = {"kernel": "decayed and adapted by LARS", "supervised_head": "kernel decayed in the loss"}
    other = {"kernel": "decayed", "bias": "decayed", "supervised_head": "decayed"}
    treatment = lars if optimizer == "lars" else other
    size = {kind: sum(v.shape.num_elements() for v in group) for kind, group in groups.items()}
    return "\n".join(
        f"  {kind:<16}{len(group):>5} variables {size[kind]:>13,} parameters  "
        f"{treatment.get(kind, 'neither decayed nor adapted' if optimizer == 'lars' else 'not decayed')}"
        for kind, group in groups.items()
        if group
    )
