"""Reconstructs the command line of a run from its config."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from tf_simclrv2.config import AREAS, ExperimentConfig
from tf_simclrv2.setting import settings_of


def command_of(config: ExperimentConfig) -> str:
    """Returns `python run.py` with a flag for each setting that is not the default.

    Example:
        >>> command_of(ExperimentConfig(data=DataConfig(dataset="cifar10")))
        'python run.py --dataset=cifar10'
    """
    words = [
        f"--{flag}={_text(value)}"
        for area, name, value in changed_fields(config)
        if (flag := settings_of(AREAS[area])[name].flag)
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
