"""Runs the doctor for both of its commands, `python -m tf_simclrv2.doctor` and `run.py --doctor`."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.doctor.checkup import examine
from tf_simclrv2.doctor.doctor_config import DoctorConfig
from tf_simclrv2.doctor.printout import printout
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import CONFIG_FILE
from tf_simclrv2.progress import say_at_once
from tf_simclrv2.setting import as_path
from tf_simclrv2.weights.run_config import read_config_file


def consult(config: ExperimentConfig, settings: DoctorConfig) -> None:
    """Examines a configuration, prints the findings and, if a file is named, writes them as JSON.

    Args:
        config: The run. Nothing is written to its `model_dir`.
        settings: How to examine it.

    Raises:
        UserError: The run would be refused, or the file cannot be written.
    """
    checkup = examine(config, settings.trial_steps)
    say_at_once(printout(checkup))
    if settings.json:
        write_json(dataclasses.asdict(checkup), settings.json)


def write_json(found: dict[str, Any], path: str) -> None:
    """Writes findings, by name, to the file that `--json` names.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        with tf.io.gfile.GFile(as_path("json", path), "w") as file:
            file.write(json.dumps(_finite(found), indent=2, allow_nan=False) + "\n")
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        raise ConfigError(f"json is {path!r}, which cannot be written ({reason}); choose another.") from error


def _finite(value: Any) -> Any:
    """The same with None for a number that JSON does not have, such as a loss that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def config_at(path: str) -> ExperimentConfig:
    """Reads the configuration of a run.

    Args:
        path: A model_dir, or a config.json.

    Raises:
        ConfigError: There is no such file, or its path is not UTF-8.
        CheckpointError: The file is damaged.
    """
    path = as_path("run", path)
    file = os.path.join(path, CONFIG_FILE) if tf.io.gfile.isdir(path) else path
    if not tf.io.gfile.exists(file):
        raise ConfigError(
            f"run is {path!r}, but there is no {file}; name the model_dir of a run, or a config.json."
        )
    return read_config_file(file)
