"""A trained network and what is known of it, read back from the files of a run."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.files import read_json
from tf_simclrv2.models import SimCLR
from tf_simclrv2.weights.classes import Classes
from tf_simclrv2.weights.loading import find_weights, load_network
from tf_simclrv2.weights.run_config import directory_of, read_config


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """What an export starts from.

    Attributes:
        network: With its weights; float32.
        config: The run that trained it, if known.
        class_names: () where they are not known.
        training: `global_step`, and the results of that step's evaluation.
    """

    network: SimCLR
    config: ExperimentConfig | None
    class_names: tuple[str, ...]
    training: dict[str, Any]


def load_trained_network(path: str) -> TrainedNetwork:
    """Builds the network of a run and loads all of its weights.

    Args:
        path: A model_dir, a `ckpt-N` inside one, or a SavedModel.

    Raises:
        CheckpointError: There are no weights, not those of a whole network, their architecture is unknown, or
            there is another number of class names.
    """
    weights = find_weights(path, setting="model_dir")
    prefix = weights.reader.prefix
    directory = directory_of(path)
    step = _step(prefix)
    training = {"global_step": step, **_result(os.path.join(directory, f"result_{step}.json"))}
    network = load_network(weights, say=print)
    classes = Classes.beside(
        path, network.config.num_classes, f"the network in {path!r}", "export the network of a run"
    )
    if classes.doubt:
        print(classes.doubt)
    return TrainedNetwork(network, read_config(directory), classes.names or (), training)


def _step(prefix: str) -> int | None:
    found = re.search(r"-(\d+)$", prefix)
    return int(found[1]) if found else None


def _result(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except tf.errors.NotFoundError:
        return {}
    except ValueError as error:
        print(f"{path} cannot be read ({error}); the export is made without these results")
        return {}
