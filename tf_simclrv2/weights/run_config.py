"""The config of the run that made what is in a directory, read back from `config.json` or an export."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig, ModelConfig, config_from_dict
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import CONFIG_FILE, DESCRIPTION_FILE


def read_config(directory: str) -> ExperimentConfig | None:
    """Reads the config of the run that made what is in a directory, if any: a model_dir or an export.

    Raises:
        ConfigError: There is a config, but it is damaged or of another version.
    """
    values = _read_json(directory, CONFIG_FILE) or _read_json(directory, DESCRIPTION_FILE).get("run")
    try:
        return config_from_dict(ExperimentConfig, values) if values else None
    except (ConfigError, TypeError, AttributeError) as error:
        raise ConfigError(f"the config in {directory} is not one of a run: {error}") from error


def read_model(directory: str) -> ModelConfig | None:
    """Reads the network whose weights a directory holds; an export may be a part of the run's.

    Raises:
        ConfigError: As `read_config`.
    """
    exported = _read_json(directory, DESCRIPTION_FILE).get("model")
    if exported:
        return config_from_dict(ModelConfig, exported)
    run = read_config(directory)
    return run and run.model


def directory_of(path: str) -> str:
    """The directory that tells of weights: a model_dir or SavedModel, or the one that holds a `ckpt-N`."""
    return path if tf.io.gfile.isdir(path) else os.path.dirname(path)


def _read_json(directory: str, name: str) -> dict[str, Any]:
    path = os.path.join(directory, name)
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path) as file:
            values = json.load(file)
        if not isinstance(values, dict):
            raise ValueError("no object in braces")
    except ValueError as error:  # Neither text nor JSON.
        raise ConfigError(
            f"{path} cannot be read ({error}); it is damaged: bring back a copy of it, or move it away."
        ) from error
    return values
