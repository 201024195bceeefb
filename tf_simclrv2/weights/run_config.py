"""Reads the config of the run that made what is in a directory, from its `config.json` or an export."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig, ModelConfig, config_from_dict
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.files import CONFIG_FILE, DESCRIPTION_FILE, VERSIONS_FILE, read_json
from tf_simclrv2.version import VERSION

_Config = TypeVar("_Config")


def read_config(directory: str) -> ExperimentConfig | None:
    """Reads the config of the run that made what is in a directory.

    Args:
        directory: A model_dir, or an export, which carries the config in `simclr.json`.

    Returns:
        The config; None if the directory has neither file, or an export does not name its run.

    Raises:
        CheckpointError: There is a config, but it is damaged or from a newer version.

    Example:
        >>> read_config("/tmp/run").model.resnet_depth
        18
    """
    path = os.path.join(directory, CONFIG_FILE)
    if tf.io.gfile.exists(path):
        return read_config_file(path)
    description = _description(directory)
    values = description.get("run")
    return values and _parsed(ExperimentConfig, values, _description_path(directory), description)


def read_config_file(path: str) -> ExperimentConfig:
    """Reads the config in one file.

    Args:
        path: A `config.json`; a setting that it lacks has its default.

    Raises:
        CheckpointError: There is no such file, or it is damaged or from a newer version.
    """
    versions = os.path.join(os.path.dirname(path), VERSIONS_FILE)
    return _parsed(ExperimentConfig, _read(path), path, {"versions": _read_if_whole(versions)})


def read_model(directory: str) -> ModelConfig | None:
    """Reads the network whose weights a directory holds.

    Args:
        directory: A model_dir or an export; the network of an export may be a part of the run's.

    Returns:
        The network; None if it is not known.

    Raises:
        CheckpointError: As `read_config`.
    """
    description = _description(directory)
    values = description.get("model")
    if values:
        return _parsed(ModelConfig, values, _description_path(directory), description)
    run = read_config(directory)
    return run and run.model


def read_training_summary(directory: str) -> dict[str, Any]:
    """Reads what an export says of its training: `global_step`, and the results of the evaluation there.

    Args:
        directory: An export; of anything else nothing is known.

    Returns:
        The summary; {} if there is none.

    Raises:
        CheckpointError: `simclr.json` is damaged.
    """
    summary = _description(directory).get("training")
    return summary if isinstance(summary, dict) else {}


def directory_of(path: str) -> str:
    """Returns the directory that describes weights: a model_dir or SavedModel, or the one of a `ckpt-N`."""
    return path if tf.io.gfile.isdir(path) else os.path.dirname(path)


def _description_path(directory: str) -> str:
    return os.path.join(directory, DESCRIPTION_FILE)


def _description(directory: str) -> dict[str, Any]:
    path = _description_path(directory)
    return _read(path) if tf.io.gfile.exists(path) else {}


def _read(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        raise CheckpointError(f"{path} cannot be read ({reason}); name the model_dir of a run.") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); it is damaged: restore a copy of it, or move it away."
        ) from error


def _read_if_whole(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except (tf.errors.OpError, ValueError):
        return {}


def _parsed(cls: type[_Config], values: Any, path: str, made_by: dict[str, Any]) -> _Config:
    """Returns the dataclass with these values; `made_by["versions"]` names the version that wrote them."""
    try:
        return config_from_dict(cls, values)
    except (ValueError, TypeError, AttributeError) as error:
        reason, version = str(error).rstrip("."), _version_of(made_by)
        if _is_newer(version):
            raise CheckpointError(
                f"{path} was written by tf_simclrv2 {version}, and this is {VERSION}, which cannot read it "
                f"({reason}); install the newer version."
            ) from error
        raise CheckpointError(
            f"{path} is not the config of a run ({reason}); restore a copy of it, or move it away."
        ) from error


def _version_of(made_by: dict[str, Any]) -> str:
    versions = made_by.get("versions")
    return str(versions.get("tf_simclrv2", "")) if isinstance(versions, dict) else ""


def _is_newer(version: str) -> bool:
    """Returns whether a version such as 0.2.0 comes after this one; False if it cannot be compared."""
    there, here = ([int(n) if n.isdigit() else -1 for n in v.split(".")] for v in (version, VERSION))
    return there > here
