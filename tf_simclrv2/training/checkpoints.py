"""Checkpoints whose keys are the variables' paths, and the one loader that reads them.

A training checkpoint is a `tf.train.Checkpoint` of nested dicts: the kernel `resnet/stem/conv_1/kernel`
is saved under `model/resnet/stem/conv_1/kernel`. An exported SavedModel holds the same tree.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tf_simclrv2.config import CONFIG_FILE, ConfigError, ExperimentConfig, ModelConfig, config_from_dict
from tf_simclrv2.model_card import DESCRIPTION_FILE
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.tasks import Task
from tf_simclrv2.variable_paths import named_variables, variable_tree

_KEY_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# The fields of `ModelConfig` that decide which variables there are.
ARCHITECTURE = (
    "resnet_depth",
    "width_multiplier",
    "sk_ratio",
    "se_ratio",
    "proj_head_mode",
    "num_proj_layers",
    "proj_out_dim",
)
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_CLASSIFIER = "supervised_head/"


def training_checkpoint(task: Task, **more: tf.Variable) -> tf.train.Checkpoint:
    """The checkpoint of a compiled task: network, optimizer and whatever else the loop must remember."""
    memory = task.memory()
    return tf.train.Checkpoint(
        model=variable_tree(named_variables(task.network)),
        optimizer=variable_tree(named_variables(task.optimizer)),
        **({"memory": variable_tree(memory)} if memory else {}),
        **more,
    )


@dataclasses.dataclass(frozen=True)
class SavedWeights:
    """Weights on disk.

    Attributes:
        prefix: The path that TensorFlow's checkpoint reader takes.
        config: The run that made them, where it is known.
    """

    prefix: str
    config: ExperimentConfig | None

    def keys(self) -> dict[str, str]:
        """The checkpoint key of every model variable by path.

        Read from the graph of objects that the checkpoint carries: a SavedModel stores a variable under
        the first of the names that lead to it.
        """
        reader = tf.train.load_checkpoint(self.prefix)
        if not reader.has_tensor(_OBJECT_GRAPH):
            return {}
        graph = TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))

        def children(node: int) -> dict[str, int]:
            return {child.local_name: child.node_id for child in graph.nodes[node].children}

        def walk(prefix: str, node: int) -> dict[str, str]:
            for attribute in graph.nodes[node].attributes:
                return {prefix: attribute.checkpoint_key}
            found: dict[str, str] = {}
            for name, child in children(node).items():
                found |= walk(f"{prefix}/{name}" if prefix else name, child)
            return found

        root = children(0)
        return walk("", root["model"]) if "model" in root else {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every model variable by path."""
        stored = tf.train.load_checkpoint(self.prefix).get_variable_to_shape_map()
        return {path: tuple(stored[key]) for path, key in self.keys().items()}


def find_weights(path: str, setting: str = "checkpoint") -> SavedWeights:
    """Finds the weights in a model_dir (its newest checkpoint), a `ckpt-N` prefix or a SavedModel.

    Args:
        path: One of these.
        setting: What the path is called where the user gave it.

    Raises:
        ConfigError: There are none.
    """
    directory = path
    if tf.io.gfile.exists(path + ".index"):
        prefix, directory = path, os.path.dirname(path)
    elif tf.io.gfile.exists(os.path.join(path, "variables", "variables.index")):
        prefix = os.path.join(path, "variables", "variables")
    else:
        prefix = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else None
    if prefix is None or not tf.io.gfile.exists(prefix + ".index"):
        raise ConfigError(
            f"{setting} is {path!r}, but there is no checkpoint in it; "
            "pass a model_dir, a ckpt-N inside one, or an exported SavedModel."
        )
    return SavedWeights(prefix, read_config(directory))


def read_config(directory: str) -> ExperimentConfig | None:
    """The config that a run or an export left in a directory, if any."""
    run, module = os.path.join(directory, CONFIG_FILE), os.path.join(directory, DESCRIPTION_FILE)
    for path in (run, module):
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                values = json.load(file)
            return config_from_dict(ExperimentConfig, values if path == run else values["config"])
    return None


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        prefix: Where the weights came from.
        loaded: Paths that were loaded.
        left: Paths that stay as initialised, with the reason.
        unused: Paths in the checkpoint that this network has no place for.
    """

    prefix: str
    loaded: tuple[str, ...]
    left: dict[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} variables loaded from {self.prefix}"]
        lines += [f"  left as initialised: {path} ({reason})" for path, reason in self.left.items()]
        if self.unused:
            scopes = sorted({"/".join(path.split("/")[:2]) for path in self.unused})
            lines.append(f"  not used by this network: {', '.join(scopes)}")
        return "\n".join(lines)


def load_weights(network: SimCLR, path: str) -> LoadReport:
    """Loads pretrained weights into a network by path.

    The encoder and the projection layers in use must be there and fit. The classifier is left as
    initialised where it is to start from zeros, is missing, or has another shape.

    Args:
        network: A built network; nothing is changed if this raises.
        path: As `find_weights` takes it.

    Returns:
        What was loaded, what was left and why, and what was not used.

    Raises:
        ConfigError: No checkpoint, or one of another architecture.
    """
    weights = find_weights(path)
    shapes = weights.shapes()
    variables = named_variables(network)
    left = {
        name: reason
        for name, variable in variables.items()
        if name.startswith(_CLASSIFIER) and (reason := _why_left(network, shapes.get(name), variable.shape))
    }
    wanted = {name: variable for name, variable in variables.items() if name not in left}
    _refuse_mismatch(weights, shapes, wanted, network.config)
    reader, keys = tf.train.load_checkpoint(weights.prefix), weights.keys()
    for name, variable in wanted.items():
        variable.assign(reader.get_tensor(keys[name]))
    unused = tuple(sorted(set(shapes) - set(variables)))
    return LoadReport(weights.prefix, tuple(wanted), left, unused)


def _why_left(network: SimCLR, saved: tuple[int, ...] | None, shape: Any) -> str:
    if network.config.zero_init_logits_layer:
        return "zero_init_logits_layer"
    if saved is None:
        return "not in the checkpoint"
    return "" if saved == tuple(shape) else f"shape {saved} in the checkpoint, {tuple(shape)} here"


def _refuse_mismatch(
    weights: SavedWeights,
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, keras.Variable],
    config: ModelConfig,
) -> None:
    missing = [name for name in wanted if name not in shapes]
    misshapen = [name for name in wanted if name in shapes and shapes[name] != tuple(wanted[name].shape)]
    if not missing and not misshapen:
        return
    problem = (
        f"{misshapen[0]} has shape {shapes[misshapen[0]]} there and {tuple(wanted[misshapen[0]].shape)} here"
        if misshapen
        else f"it lacks {len(missing)} variable(s), the first {missing[0]}"
    )
    fields = differing_fields(weights.config.model, config) if weights.config else []
    cure = f"set {'; '.join(fields)}" if fields else "build the architecture that it was trained with"
    raise ConfigError(f"checkpoint {weights.prefix} is of another architecture: {problem}; {cure}.")


def differing_fields(there: ModelConfig, here: ModelConfig) -> list[str]:
    """The architecture's fields in which two configs differ, as `--name=there (here it is …)`."""
    # The image size counts only where it chooses another stem.
    fields = (*ARCHITECTURE, *(("image_size",) if there.cifar_stem != here.cifar_stem else ()))
    return differences(there, here, fields)


def differences(there: Any, here: Any, fields: Iterable[str]) -> list[str]:
    """The fields in which two configs differ, as `--name=there (here it is …)`."""
    return [
        f"--{name}={getattr(there, name)} (here it is {getattr(here, name)})"
        for name in fields
        if getattr(there, name) != getattr(here, name)
    ]


def refuse_foreign_checkpoint(checkpoint: tf.train.Checkpoint, prefix: str) -> None:
    """Checks that a training checkpoint is the one of this run before it is restored.

    Raises:
        ConfigError: Variables are missing or superfluous, with the first names.
    """
    saved = {key for key, _ in tf.train.list_variables(prefix) if key.endswith(_KEY_SUFFIX)}
    ours = {f"{path}{_KEY_SUFFIX}" for path in _leaf_paths(checkpoint)}
    bookkeeping = {f"save_counter{_KEY_SUFFIX}"}
    missing, extra = sorted(ours - saved - bookkeeping), sorted(saved - ours - bookkeeping)
    if missing or extra:
        name = (missing or extra)[0].removesuffix(_KEY_SUFFIX)
        raise ConfigError(
            f"{prefix} does not fit this run: {len(missing)} variable(s) are missing there and {len(extra)} "
            f"unknown here, the first {name}; use another --model_dir or the flags that it was made with."
        )


def _leaf_paths(checkpoint: tf.train.Checkpoint) -> list[str]:
    def walk(prefix: str, node: Any) -> list[str]:
        if isinstance(node, Mapping):
            return [path for name, child in node.items() for path in walk(f"{prefix}/{name}", child)]
        return [prefix]

    roots = {
        name: getattr(checkpoint, name) for name, _ in tf.train.TrackableView.children(checkpoint).items()
    }
    return [path for name, node in roots.items() for path in walk(name, node)]
