"""Stops a run whose loss is not finite, and writes a report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclrv2.errors import NotFiniteError
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.trainer import Trainer

REPORT_FILE = "not_finite.json"


class StopIfNotFinite:
    """Ends training after the loop in which the loss stopped being finite, as an Orbit train action.

    Args:
        prepared: The run, whose variables are reported.
        trainer: Notes the first such step.
        model_dir: Gets the report.
        manager: Knows the last checkpoint.

    Raises:
        NotFiniteError: When called after such a step.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        trainer: Trainer,
        model_dir: ModelDir,
        manager: SafeCheckpointManager,
    ) -> None:
        self._prepared = prepared
        self._trainer = trainer
        self._model_dir = model_dir
        self._manager = manager

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        step = self._trainer.first_bad_step
        if step is None:
            return
        rate, loss = float(self._prepared.plan.schedule(step)), float(output["train/total_loss"])
        report = not_finite_report(self._prepared.task, step, rate, loss)
        path = self._model_dir.write_json(REPORT_FILE, report)
        latest = self._manager.newest
        kept = f"the last good checkpoint is {latest}" if latest else "there is no checkpoint yet"
        raise NotFiniteError(
            f"the loss is not finite at step {step}; {kept}; {path} lists the norm of every variable; "
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
