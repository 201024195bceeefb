"""Stops a run whose loss is not finite, and writes what is known about it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tf_simclrv2.errors import NotFiniteError
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.optimization.schedules import WarmupCosine
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.model_dir.model_dir import ModelDir

REPORT_FILE = "not_finite.json"


def stop_if_not_finite(
    bad: int | None, task: Task, schedule: WarmupCosine, model_dir: ModelDir, loss: float, latest: str | None
) -> None:
    """Looks at what the trainer noted, after each loop of steps.

    Args:
        bad: The first step whose loss was not finite; None if there was none.
        task: Whose variables are reported.
        schedule: The learning rate.
        model_dir: Gets the report.
        loss: The mean of the loop.
        latest: The last checkpoint.

    Raises:
        NotFiniteError: There was such a step.
    """
    if bad is None:
        return
    report = not_finite_report(task, bad, float(schedule(bad)), loss)
    path = model_dir.write_json(REPORT_FILE, report)
    kept = f"the last good checkpoint is {latest}" if latest else "there is no checkpoint yet"
    raise NotFiniteError(
        f"the loss is not finite at step {bad}; {kept}; {path} tells the size of every variable; "
        "lower --learning_rate or raise --warmup_epochs."
    )


def not_finite_report(task: Task, step: int, learning_rate: float, loss: float) -> dict[str, Any]:
    """The step, and how large the variables have become; non-finite numbers are written as strings.

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
