"""Reconstructs the command line of a run from its config."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from tf_simclrv2.config import DERIVED_FIELDS, FLAG_OF_FIELD, ExperimentConfig


def command_of(config: ExperimentConfig) -> str:
    """Returns `python run.py` with a flag for each setting that is not the default.

    Example:
        >>> command_of(ExperimentConfig(data=DataConfig(dataset="cifar10")))
        'python run.py --dataset=cifar10'
    """
    words = [
        f"--{FLAG_OF_FIELD.get(name, name)}={_text(value)}"
        for _, name, value in changed_fields(config)
        if name not in DERIVED_FIELDS
    ]
    return shlex.join(["python", "run.py", *words])


def changed_fields(config: ExperimentConfig) -> list[tuple[str, str, Any]]:
    """Returns area, name and value of each field that is not at its default."""
    default = dataclasses.asdict(ExperimentConfig())
    return [
        (area, name, value)
        for area, part in dataclasses.asdict(config).items()
        for name, value in part.items()
        if value != default[area][name]
    ]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
