"""Loads the network of a run, with its config, class names and results."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.files import read_json
from tf_simclrv2.models import SimCLR
from tf_simclrv2.progress import say_at_once
from tf_simclrv2.weights.classes import Classes
from tf_simclrv2.weights.loading import find_weights, load_network
from tf_simclrv2.weights.run_config import directory_of, read_config, read_training_summary


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what is known about it.

    Attributes:
        network: The network with its weights, in float32.
        config: The run that trained it; None if it is not known.
        class_names: Class names by label; () if they are not known.
        training: `global_step`, and the results of the evaluation at that step.
    """

    network: SimCLR
    config: ExperimentConfig | None
    class_names: tuple[str, ...]
    training: dict[str, Any]


def load_trained_network(path: str, setting: str = "model_dir") -> TrainedNetwork:
    """Builds the network of a run and loads all of its weights.

    Args:
        path: A model_dir, a `ckpt-N` inside one, or a SavedModel.
        setting: The name of the setting that holds the path, for error messages.

    Raises:
        CheckpointError: There are no weights, variables are missing, the architecture is unknown, or the
            number of class names is not the number of classes.
    """
    weights = find_weights(path, setting=setting)
    prefix = weights.reader.prefix
    directory = directory_of(path)
    step = _step(prefix)
    training = read_training_summary(directory) if step is None else _summary(directory, step)
    network = load_network(weights, say=say_at_once)
    classes = Classes.read(
        path, network.config.num_classes, f"the network in {path!r}", "export the network of a run"
    )
    if classes.doubt:
        say_at_once(classes.doubt)
    return TrainedNetwork(network, read_config(directory), classes.names or (), training)


def _step(prefix: str) -> int | None:
    found = re.search(r"-(\d+)$", prefix)
    return int(found[1]) if found else None


def _summary(directory: str, step: int) -> dict[str, Any]:
    """The step and its results; tables by class are left out, as in the export of the run itself."""
    result = _result(os.path.join(directory, f"result_{step}.json"))
    if not (step or result):  # Weights that were converted, whose steps are not known.
        return {}
    return {
        "global_step": step,
        **{tag: value for tag, value in result.items() if not isinstance(value, dict)},
    }


def _result(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except tf.errors.NotFoundError:
        return {}
    except ValueError as error:
        say_at_once(f"the results in {path} cannot be read ({error}); they are left out of the export")
        return {}
