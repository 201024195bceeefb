"""Which settings identify a run: if one changes, the result would be neither the old run nor a new one."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.weights.differences import differences, differing_fields

# All others of these parts decide what is computed. `evaluation` and `run` are free as a whole.
FREE = {
    "model": {"num_classes"},  # Follows from the data, whose classes are compared.
    "objective": set(),
    "distillation": {"teacher"},  # A path.
    "optimizer": {"online_learning_rate"},  # Nothing learns from the online classifier.
    "data": {
        *("data_dir", "labeled_data_dir", "tf_data_service"),
        *("eval_split", "validation_split", "max_skipped_fraction"),
    },
    "training": {"train_steps", "train_epochs", "patience", "deterministic", "rematerialize", "compile"},
}


def changed_settings(before: ExperimentConfig, now: ExperimentConfig) -> list[str]:
    """Lists the settings that must not change but did, as `--name=before (here it is …)`.

    An evaluation only has to be of the same network; for the rest it looks at images as it likes.

    Args:
        before: The config that the directory's checkpoints were made with.
        now: What is asked for.
    """
    if now.run.mode == "eval":
        same_layer = before.model.classifier_layer == now.model.classifier_layer
        return [
            *differing_fields(before.model, now.model),
            *([] if same_layer else differences(before.model, now.model, ["ft_proj_selector"])),
            *differences(before.training, now.training, ["train_mode"]),
            *differences(before.optimizer, now.optimizer, ["optimizer"]),
            *differences(before.objective, now.objective, ["memory_size"]),
        ]
    found = []
    for part, free in FREE.items():
        then, here = getattr(before, part), getattr(now, part)
        names = [field.name for field in dataclasses.fields(then) if field.name not in free]
        found += differences(then, here, names)
    return found


def free_changes(before: ExperimentConfig, now: ExperimentConfig) -> list[str]:
    """Lists the settings that may change and did, as `name was …, is …`.

    Args:
        before: The config that the directory's checkpoints were made with.
        now: What is asked for.
    """
    found = []
    for part, free in FREE.items():
        then, here = getattr(before, part), getattr(now, part)
        names = [field.name for field in dataclasses.fields(then) if field.name in free]
        found += [
            f"{name} was {_value(then, name)}, is {_value(here, name)}"
            for name in names
            if name != "num_classes" and getattr(then, name) != getattr(here, name)
        ]
    return found


def with_start(before: ExperimentConfig, now: ExperimentConfig) -> tuple[ExperimentConfig, list[str]]:
    """Returns a run that has begun with what it began from, whatever is asked for now.

    Args:
        before: The config that the directory's checkpoints were made with.
        now: What is asked for.

    Returns:
        `now` with the earlier `checkpoint` and `variable_schema`, and a line about each other value that was
        given.
    """
    start = {name: getattr(before.run, name) for name in ("checkpoint", "variable_schema")}
    found = [
        f"{name} was {_value(before.run, name)}, and {given} is not used, as the run has begun"
        for name, value in start.items()
        if (given := getattr(now.run, name)) is not None and given != value
    ]
    return dataclasses.replace(now, run=dataclasses.replace(now.run, **start)), found


def _value(part: Any, name: str) -> Any:
    value = getattr(part, name)
    return "not set" if value is None else value
