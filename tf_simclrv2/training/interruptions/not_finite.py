"""The report of a loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.tasks import Task

REPORT_FILE = "not_finite.json"


def not_finite_report(task: Task, step: int, learning_rate: float, loss: float) -> dict[str, Any]:
    """Reports the step and how large the variables have become; non-finite numbers are written as strings.

    Args:
        task: As it stands at the end of the loop of steps in which it happened.
        step: The first step whose loss was not finite.
        learning_rate: That step's.
        loss: The mean of the loop.
    """
    norms = {path: _norm(variable) for path, variable in named_variables(task.network).items()}
    return {
        "step": step,
        "learning_rate": _plain(learning_rate),
        "loss": _plain(loss),
        "variable_norms": {path: _plain(norm) for path, norm in norms.items()},
    }


def _norm(variable: Any) -> float:
    return float(np.linalg.norm(np.asarray(variable.numpy(), np.float64).ravel()))


def _plain(number: float) -> float | str:
    # JSON has no NaN.
    return number if math.isfinite(number) else str(number)
