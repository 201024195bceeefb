"""What a stage or an evaluation takes over from the run that it builds on, so that nobody types it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from typing import Any

from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.weights.differences import ARCHITECTURE
from tf_simclrv2.weights.loading import find_weights


def adopt(config: ExperimentConfig, explicit: Set[str]) -> ExperimentConfig:
    """Fills in what the user did not say from the run that made the weights.

    An evaluation takes everything from its `model_dir`; a stage that starts from a checkpoint takes the
    architecture. What the user did say stays, and is compared with the weights later.

    Args:
        config: As the command line gives it.
        explicit: Names of the fields that the user set.

    Returns:
        The completed config; the same where no earlier config is found.

    Raises:
        CheckpointError: `config.run.checkpoint` holds no weights.
    """
    if config.run.mode == "eval" and config.run.model_dir:
        before = ModelDir(config.run.model_dir).read_config()
        return config if before is None else _adopt_run(config, before, explicit)
    if config.run.checkpoint:
        model = find_weights(config.run.checkpoint).model
        return config if model is None else _adopt_architecture(config, model, explicit)
    return config


def _adopt_run(config: ExperimentConfig, before: ExperimentConfig, explicit: Set[str]) -> ExperimentConfig:
    sections = ("model", "objective", "distillation", "optimizer", "data", "training")
    return dataclasses.replace(
        config, **{name: _keep(getattr(config, name), getattr(before, name), explicit) for name in sections}
    )


def _adopt_architecture(
    config: ExperimentConfig, before: ModelConfig, explicit: Set[str]
) -> ExperimentConfig:
    fields = {"image_size", *ARCHITECTURE} - set(explicit)
    values = {name: getattr(before, name) for name in sorted(fields)}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **values))


def _keep(ours: Any, before: Any, explicit: Set[str]) -> Any:
    """`before` with the explicit fields of `ours`."""
    named = {field.name for field in dataclasses.fields(ours)} & set(explicit)
    return dataclasses.replace(before, **{name: getattr(ours, name) for name in sorted(named)})
