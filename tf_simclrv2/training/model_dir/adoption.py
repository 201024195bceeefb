"""What a stage or an evaluation takes over from the run that it builds on, so that nobody types it again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Set
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import AREAS, DataConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.progress import Say
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.weights.differences import ARCHITECTURE
from tf_simclrv2.weights.keras_weights_file import is_keras_weights_file
from tf_simclrv2.weights.loading import find_weights
from tf_simclrv2.weights.run_config import directory_of, read_config, read_model

# How a network sees an image belongs to the network, not to the stage.
_INPUT = ("image_size", "background")


@dataclasses.dataclass(frozen=True)
class _Earlier:
    """What a later stage may take over from an earlier run: `values` by the name of the field."""

    path: str
    values: dict[str, Any]

    @classmethod
    def of(cls, path: str, model: ModelConfig | None, fields: Iterable[str] = _INPUT) -> _Earlier:
        """Returns these fields of a network and of the run that made it, as far as they are known."""
        run = None if is_keras_weights_file(path) else read_config(directory_of(path))
        known = {**(vars(model) if model else {}), **({"background": run.data.background} if run else {})}
        return cls(path, {name: known[name] for name in fields if name in known})


def adopt(
    config: ExperimentConfig, explicit: Set[str] | None = None, say: Say | None = None
) -> ExperimentConfig:
    """Fills in the settings that the user did not give, from the runs that made the weights.

    An evaluation takes everything from its `model_dir`. A stage that starts from a checkpoint takes the
    architecture, and the image size and the background with which the network was trained. A distillation
    without a checkpoint takes these two from its teacher. Settings that the user gave stay.

    Args:
        config: The config as the user gave it.
        explicit: Names of the fields that the user set; None (the default) takes those that differ from
            their default.
        say: Receives a line about each run from which something was adopted, or that was trained with other
            settings; None (the default) reports nothing.

    Returns:
        The completed config; the same if no earlier config is found.

    Raises:
        CheckpointError: The checkpoint or the teacher holds no weights, or an earlier config is damaged.
        ConfigError: The image size that the user set needs another stem than the checkpoint's.

    Example:
        >>> training, run = TrainingConfig(train_mode="finetune"), RunConfig(checkpoint="runs/pretrain")
        >>> adopt(ExperimentConfig(training=training, run=run), say=print).model.image_size
        resnet_depth 18, image_size 32, background white: from runs/pretrain
        32
    """
    explicit = _changed(config) if explicit is None else explicit
    if config.run.mode == "eval":
        before = ModelDir(config.run.model_dir).read_config() if config.run.model_dir else None
        return config if before is None else _adopt_run(config, before, explicit)
    say = (lambda line: None) if say is None else say
    settled = set(explicit)
    if config.run.checkpoint:
        config = _adopt_checkpoint(config, config.run.checkpoint, settled, say)
    if config.training.train_mode == "distill" and config.distillation.teacher:
        config = _adopt_network(config, _teacher(config, config.distillation.teacher), settled, say)
    return config


def _changed(config: ExperimentConfig) -> set[str]:
    """Names of the fields that differ from their default."""
    parts = [(vars(getattr(config, area)), vars(default())) for area, default in AREAS.items()]
    return {name for values, defaults in parts for name in values if values[name] != defaults[name]}


def _adopt_run(config: ExperimentConfig, before: ExperimentConfig, explicit: Set[str]) -> ExperimentConfig:
    sections = ("model", "objective", "distillation", "optimizer", "data", "training")
    own = {*explicit, *_of_another_dataset(config.data, before.data, explicit)}
    adopted = {name: _keep(getattr(config, name), getattr(before, name), own) for name in sections}
    # How often that run saves, which is a part of its description.
    saves = {name: getattr(before.run, name) for name in ("checkpoint_epochs", "checkpoint_steps")}
    run = dataclasses.replace(config.run, **{n: value for n, value in saves.items() if n not in explicit})
    return dataclasses.replace(config, run=run, **adopted)


def _of_another_dataset(data: DataConfig, before: DataConfig, explicit: Set[str]) -> Set[str]:
    """The fields that say how the earlier dataset is read, if the user asks for another one."""
    if "dataset" not in explicit or data.dataset == before.dataset:
        return frozenset()
    # TFDS would write what it prepares among the images of a folder.
    fields = {"image_key", "label_key", "labels_from"}
    if "image_folder" in (data.dataset, before.dataset):
        fields |= {"data_dir"}
    if before.labeled_dataset is None:  # The labeled images are then of the other dataset, too.
        fields |= {"labeled_data_dir", "labeled_image_key", "labeled_label_key"}
    return fields


def _keep(ours: Any, before: Any, explicit: Set[str]) -> Any:
    """`before` with the explicit fields of `ours`."""
    named = {field.name for field in dataclasses.fields(ours)} & set(explicit)
    return dataclasses.replace(before, **{name: getattr(ours, name) for name in sorted(named)})


def _adopt_checkpoint(config: ExperimentConfig, path: str, settled: set[str], say: Say) -> ExperimentConfig:
    if begun := _begun(config):
        return _adopt_network(config, _Earlier.of(*begun, (*ARCHITECTURE, *_INPUT)), settled, say)
    weights = find_weights(path)
    model = weights.model
    # A Keras file says nothing about images, and the files next to it did not make it.
    fields = weights.architecture if weights.is_keras else (*weights.architecture, *_INPUT)
    config = _adopt_network(config, _Earlier.of(path, model, fields), settled, say)
    if model is not None and model.cifar_stem != config.model.cifar_stem:
        limit = "at most 32" if model.cifar_stem else "at least 33"
        raise ConfigError(
            f"image_size is {config.model.image_size}, but checkpoint {path!r} was trained at "
            f"{model.image_size} and has another stem; use {limit}, or leave it out."
        )
    return config


def _begun(config: ExperimentConfig) -> tuple[str, ModelConfig] | None:
    """The run's own directory and network, if it has begun; it needs what it began from no more."""
    own = config.run.model_dir
    before = ModelDir(own).begun_with() if own else None
    return (own, before.model) if own and before else None


def _teacher(config: ExperimentConfig, path: str) -> _Earlier:
    if begun := _begun(config):
        return _Earlier.of(*begun)
    if tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
        return _Earlier.of(path, read_model(path))
    return _Earlier.of(path, find_weights(path, setting="teacher").model)


def _adopt_network(
    config: ExperimentConfig, earlier: _Earlier, settled: set[str], say: Say
) -> ExperimentConfig:
    """Takes the values that are not settled yet, settles them, and says so."""
    ours = {**vars(config.model), **vars(config.data)}
    taken = {name: value for name, value in earlier.values.items() if name not in settled}
    other = [name for name in _INPUT if name in earlier.values and name not in taken]
    other = [name for name in other if earlier.values[name] != ours[name]]
    settled |= set(taken)
    if shown := [name for name, value in taken.items() if name in _INPUT or value != ours[name]]:
        say(f"{_listed(taken, shown)}: from {earlier.path}")
    if other:
        say(f"{_listed(ours, other)}: unlike {earlier.path}, which has {_listed(earlier.values, other)}")
    parts = {
        area: {name: value for name, value in taken.items() if name in vars(getattr(config, area))}
        for area in ("model", "data")
    }
    changed = {area: dataclasses.replace(getattr(config, area), **part) for area, part in parts.items()}
    return dataclasses.replace(config, **changed)


def _listed(values: dict[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {values[name]}" for name in names)
