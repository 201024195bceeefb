"""Recognizes Google's published weights in all three forms, and writes those of the TF2 program.

A checkpoint is recognized by the names of its variables, and its architecture is inferred from their shapes.
All variables are accounted for before the first one is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from tf_simclrv2.config import ModelConfig
from tf_simclrv2.errors import CheckpointError, UserError
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.variable_paths import named_variables, variable_tree
from tf_simclrv2.weights.checkpoint_reader import KEY_SUFFIX, CheckpointReader
from tf_simclrv2.weights.published_architecture import (
    head_layer,
    is_classifier,
    is_model_variable,
    read_architecture,
)
from tf_simclrv2.weights.published_names import name_variables

_STEM = {"tf2": "resnet/", "attributes": "resnet_model/", "tf1": "base_model/"}


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """A recognized published checkpoint.

    Attributes:
        form: The kind of checkpoint, for messages.
        model: The network, inferred from the names and shapes of its variables.
        classifier_layers: The head layers that may be the classifier's input.
        keys: The checkpoint key of every variable by our path.
        stage: What trained the classifier: `finetune` (or supervised training from scratch), `pretrain`, or
            `unknown` if neither the optimizer's variables nor a truncated head show it.
    """

    form: str
    model: ModelConfig
    classifier_layers: tuple[int, ...]
    keys: dict[str, str]
    stage: str = "unknown"

    @property
    def doubt(self) -> str:
        """A sentence on the classifier's layer if the checkpoint leaves it open; else empty."""
        if not self.model.num_classes or len(self.classifier_layers) == 1:
            return ""
        layers = ", ".join(map(str, self.classifier_layers))
        return (
            f"the classifier fits layers {layers} of the head; layer {self.model.classifier_layer} is used "
            "(python -m export.convert --ft_proj_selector=N selects another)"
        )


def recognize(reader: CheckpointReader, ft_proj_selector: int | None = None) -> PublishedWeights | None:
    """Recognizes a published checkpoint, in any of its forms.

    Args:
        reader: The checkpoint.
        ft_proj_selector: See `load_published_weights`.

    Returns:
        What was recognized; None for a checkpoint of another program.

    Raises:
        CheckpointError: It is a published checkpoint, but has missing or unexpected variables.
        ConfigError: `ft_proj_selector` is a layer that does not fit the classifier.
    """
    form, naming, keys = _published_keys(reader)
    keys = {name: key for name, key in keys.items() if is_model_variable(name)}
    if not any(name.startswith(_STEM[naming]) for name in keys):
        return None
    fine_tuned_from = _fine_tuned_from(reader, keys)
    # The TF1 program fine-tunes no layer of the head, so that its slots show the stage but not the layer.
    shown = None if naming == "tf1" else fine_tuned_from
    selector = shown if ft_proj_selector is None else ft_proj_selector
    try:
        model, layers = read_architecture(
            {name: reader.shapes[key] for name, key in keys.items()}, _is_global_bn(reader), selector
        )
    except UserError as error:
        raise type(error)(f"checkpoint {reader.name}: {error}") from error
    paths = {getattr(name, naming): name.path for name in name_variables(SimCLR(model))}
    _refuse_other_names(f"{reader.name}, {form},", set(paths), set(keys), model)
    fine_tuned = fine_tuned_from is not None or model.truncate_proj_head
    stage = "finetune" if fine_tuned else "pretrain" if _trains_everything(reader, keys) else "unknown"
    keys = {path: keys[name] for name, path in paths.items()}
    return PublishedWeights(form, model, layers if selector is None else (selector,), keys, stage)


def _published_keys(reader: CheckpointReader) -> tuple[str, str, dict[str, str]]:
    """Returns the form, the field of `PublishedName` with its names, and its keys by these names."""
    if reader.graph is None:
        return "a TF1 checkpoint", "tf1", {key: key for key in reader.shapes}
    if "resnet_model" not in reader.children("model"):
        return "", "tf2", {}
    form = "a TF2 SavedModel" if "trainable_variables_list" in reader.children() else "a TF2 checkpoint"
    names = reader.keys_by_full_name()
    if any(name.startswith(_STEM["tf2"]) and is_model_variable(name) for name in names):
        return form, "tf2", names
    # `save_published_checkpoint` writes the published paths, but our own names.
    root = "model/"
    paths = {
        key.removeprefix(root).removesuffix(KEY_SUFFIX): key for key in reader.shapes if key.startswith(root)
    }
    return form, "attributes", paths


def _is_global_bn(reader: CheckpointReader) -> bool:
    """Returns False only if the layers have the names of local batch norm, which the TF2 program records."""
    layers = {layer for name in reader.keys_by_full_name() for layer in name.split("/")}
    local = any(layer.startswith("batch_normalization") for layer in layers)
    return not local


def _fine_tuned_from(reader: CheckpointReader, keys: Mapping[str, str]) -> int | None:
    """Returns the head layer that a classifier was fine-tuned on; None if the optimizer does not show it.

    Layers after it have no gradient, so the optimizer has no momentum slots for them.
    """
    trained = _trained(reader, keys)
    layers = {layer for name in keys if (layer := head_layer(name)) is not None}
    untrained = layers - {head_layer(name) for name in trained}
    return min(untrained) if untrained and any(is_classifier(name) for name in trained) else None


def _trains_everything(reader: CheckpointReader, keys: Mapping[str, str]) -> bool:
    """Returns whether the optimizer has the classifier and all layers of a head, as only in pretraining."""
    layers = {layer for name in keys if (layer := head_layer(name)) is not None}
    trained = _trained(reader, keys)
    known = {head_layer(name) for name in trained}
    return bool(layers) and layers <= known and any(is_classifier(name) for name in trained)


def _trained(reader: CheckpointReader, keys: Mapping[str, str]) -> set[str]:
    """Returns the names of the variables for which the optimizer has slots."""
    with_slots = {key.split("/.OPTIMIZER_SLOT", 1)[0] for key in reader.shapes if "/.OPTIMIZER_SLOT" in key}
    with_slots |= {key.rpartition("/")[0] for key in reader.shapes}
    return {name for name, key in keys.items() if key.removesuffix(KEY_SUFFIX) in with_slots}


def _refuse_other_names(what: str, wanted: set[str], found: set[str], model: ModelConfig) -> None:
    faults = {"lacks": sorted(wanted - found), "has unexpected": sorted(found - wanted)}
    words = [
        f"{verb} {len(names)} variable(s), the first {names[0]}" for verb, names in faults.items() if names
    ]
    if words:
        raise CheckpointError(
            f"checkpoint {what} looks like {describe_architecture(model)}, but it {' and '.join(words)}; "
            "fetch it again, or build its network by hand."
        )


def describe_architecture(model: ModelConfig) -> str:
    """Describes a network in a few words.

    Example:
        >>> describe_architecture(ModelConfig(resnet_depth=152, width_multiplier=3, sk_ratio=0.0625))
        'ResNet-152 3x, SK 0.0625, 3-layer head to 128, 1000 classes on layer 0'
    """
    layers = model.num_used_head_layers
    head = f"{layers}-layer head"
    if not model.truncate_proj_head:
        head = f"{head} to {model.proj_out_dim}" if layers else "no head"
    parts = (
        f"ResNet-{model.resnet_depth} {model.width_multiplier}x",
        model.cifar_stem and "CIFAR stem",
        model.sk_ratio and f"SK {model.sk_ratio:g}",
        model.se_ratio and f"SE {model.se_ratio:g}",
        head,
        f"{model.num_classes} classes on layer {model.classifier_layer}"
        if model.num_classes
        else "no classifier",
    )
    return ", ".join(part for part in parts if part)


def published_checkpoint(network: SimCLR) -> tf.train.Checkpoint:
    """Returns a network as the checkpoint that the published TF2 program writes, without an optimizer.

    Args:
        network: A built network.
    """
    variables = named_variables(network)
    tree = {name.attributes: variables[name.path] for name in name_variables(network)}
    return tf.train.Checkpoint(model=variable_tree(tree))


def save_published_checkpoint(network: SimCLR, prefix: str) -> str:
    """Writes a network as a checkpoint that the published TF2 program restores.

    Args:
        network: A built network. If its projection head is truncated, the published program leaves the
            missing layers as initialized.
        prefix: Path of the checkpoint without `.index`.

    Returns:
        The prefix, for `tf.train.Checkpoint(model=model).restore(prefix)` in the published program.

    Example:
        >>> save_published_checkpoint(network, "/tmp/published/ckpt-0")
        '/tmp/published/ckpt-0'
    """
    return published_checkpoint(network).write(prefix)
