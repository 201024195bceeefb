"""A trained network and what is known of it, read back from the files of a run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ConfigError, ExperimentConfig
from tf_simclrv2.models import SimCLR
from tf_simclrv2.training.checkpoints import find_weights, load_weights
from tf_simclrv2.training.model_dir import CLASS_NAMES_FILE


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """What an export starts from.

    Attributes:
        network: With its weights; float32.
        config: The run that trained it.
        class_names: () where they are not known.
        training: `global_step`, and the results of that step's evaluation.
    """

    network: SimCLR
    config: ExperimentConfig
    class_names: tuple[str, ...]
    training: dict[str, Any]


def load_trained_network(path: str) -> TrainedNetwork:
    """Builds the network of a run and loads all of its weights.

    Args:
        path: A model_dir, a `ckpt-N` inside one, or a SavedModel.

    Raises:
        ConfigError: There are no weights, or not those of a whole network.
    """
    weights = find_weights(path, setting="model_dir")
    if weights.config is None:
        raise ConfigError(
            f"model_dir is {path!r}, but there is no config.json that tells its architecture; "
            "name the directory that a run left."
        )
    model = dataclasses.replace(weights.config.model, zero_init_logits_layer=False)
    network = SimCLR(model, name="simclr", dtype="float32")
    network.build((None, model.image_size, model.image_size, 3))
    report = load_weights(network, path)
    if report.left:
        raise ConfigError(f"{weights.prefix} lacks {', '.join(report.left)}; export another checkpoint.")
    directory = os.path.dirname(weights.prefix)
    step = _step(weights.prefix)
    training = {"global_step": step, **_read_json(os.path.join(directory, f"result_{step}.json"))}
    return TrainedNetwork(network, weights.config, _class_names(path, directory), training)


def _step(prefix: str) -> int | None:
    found = re.search(r"-(\d+)$", prefix)
    return int(found[1]) if found else None


def _read_json(path: str) -> dict[str, Any]:
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)


def _class_names(*directories: str) -> tuple[str, ...]:
    for directory in directories:
        for path in (os.path.join(directory, *folder, CLASS_NAMES_FILE) for folder in ((), ("assets",))):
            if tf.io.gfile.exists(path):
                with tf.io.gfile.GFile(path) as file:
                    return tuple(file.read().splitlines())
    return ()
