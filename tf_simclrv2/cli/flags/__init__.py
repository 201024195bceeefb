"""Every flag of the programs, and the one place where they are read."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from absl import flags

from tf_simclrv2.cli.flags import data, doctor, evaluation, model, optimization, run, training
from tf_simclrv2.config import (
    DERIVED_FIELDS,
    FLAG_OF_FIELD,
    DataConfig,
    DistillationConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)

FLAGS = flags.FLAGS

_Config = TypeVar("_Config")


def define_flags() -> None:
    """Defines all flags; once a process."""
    for area in (run, training, optimization, model, data, evaluation, doctor):
        area.define()


def config_from_flags() -> ExperimentConfig:
    """The run that the command line asks for.

    Raises:
        ConfigError: A flag, or a combination of them, is impossible.
    """
    run_config = _from_flags(RunConfig)
    if not FLAGS.use_tpu:
        run_config = dataclasses.replace(run_config, tpu_name=None, master=None)
    if not run_config.steps_per_loop and FLAGS.train_summary_steps:
        run_config = dataclasses.replace(run_config, steps_per_loop=FLAGS.train_summary_steps)
    return ExperimentConfig(
        model=_from_flags(ModelConfig),
        objective=_from_flags(ObjectiveConfig),
        distillation=_from_flags(DistillationConfig),
        optimizer=_from_flags(OptimizerConfig),
        data=_from_flags(DataConfig),
        training=_from_flags(TrainingConfig),
        evaluation=_from_flags(EvaluationConfig),
        run=run_config,
    )


def explicit_fields() -> set[str]:
    """The config fields that the user set on the command line or in a flagfile."""
    field_of_flag = {flag: field for field, flag in FLAG_OF_FIELD.items()}
    return {field_of_flag.get(name, name) for name in flag_values() if FLAGS[name].present}


def notes_on_flags() -> list[str]:
    """A line for each flag that is accepted for the sake of older commands only."""
    return [f"--{name}: {note}" for name, note in run.LEGACY_NOTES.items() if FLAGS[name].present]


def flag_values() -> dict[str, Any]:
    """All flags of this project and their values, as `flags.json` records them."""
    modules = (run, training, optimization, model, data, evaluation)
    ours = {flag.name for area in modules for flag in FLAGS.flags_by_module_dict()[area.__name__]}
    return {name: FLAGS[name].value for name in sorted(ours)}


def _from_flags(config: type[_Config]) -> _Config:
    names = [field.name for field in dataclasses.fields(config) if field.name not in DERIVED_FIELDS]
    values = {name: FLAGS[FLAG_OF_FIELD.get(name, name)].value for name in names}
    return config(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
