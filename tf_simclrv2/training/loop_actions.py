"""What happens between two loops of training steps: Orbit train actions, which get the loop's output."""

from __future__ import annotations

import os

import tensorflow as tf

from tf_simclrv2.data import SkippedImages
from tf_simclrv2.errors import NotFiniteError
from tf_simclrv2.training.interruptions.not_finite import REPORT_FILE, not_finite_report
from tf_simclrv2.training.interruptions.preemption import Preemption
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.verified_checkpoints import checkpoint_steps
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.trainer import Trainer


class LastOutput:
    """Keeps the numbers of the last loop for the result.

    Attributes:
        values: By tag; empty before the first loop.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        self.values = {name: float(value) for name, value in output.items()}


class WriteSkippedImages:
    """Writes the names of unreadable images as they are found.

    Args:
        model_dir: Gets `skipped.txt`.
        skipped: Knows the names.
    """

    def __init__(self, model_dir: ModelDir, skipped: SkippedImages) -> None:
        self._model_dir = model_dir
        self._skipped = skipped

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        self._model_dir.write_skipped(self._skipped.names)


class StopIfNotFinite:
    """Ends training after the loop in which the loss stopped being finite, as an Orbit train action.

    Args:
        prepared: The run, whose variables are reported.
        trainer: Notes the first such step.
        model_dir: Gets the report.

    Raises:
        NotFiniteError: When called after such a step.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        trainer: Trainer,
        model_dir: ModelDir,
    ) -> None:
        self._prepared = prepared
        self._trainer = trainer
        self._model_dir = model_dir

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        step = self._trainer.first_bad_step
        if step is None:
            return
        rate, loss = float(self._prepared.plan.schedule(step)), float(output["train/total_loss"])
        report = not_finite_report(self._prepared.task, step, rate, loss)
        path = self._model_dir.write_json(REPORT_FILE, report)
        # The weights after so many steps are those of the bad loss, and a checkpoint may have them.
        good = [saved for saved in checkpoint_steps(self._model_dir.path) if saved < step]
        latest = os.path.join(self._model_dir.path, f"ckpt-{good[0]}") if good else ""
        kept = f"the last good checkpoint is {latest}" if latest else "there is no good checkpoint"
        raise NotFiniteError(
            f"the loss is not finite at step {step}; {kept}; {path} lists the norm of every variable; start "
            "in another --model_dir with a lower --learning_rate or more --warmup_epochs."
        )


class Stopped(Exception):
    """Training was asked to stop, and the step that it was at is done."""


class StopIfAsked:
    """Leaves Orbit's loop if training was asked to stop, as an Orbit train action.

    Args:
        preemption: Knows whether it was.
        cuts_loops: Whether a loop ends early then; else the loop's end is soon enough.

    Raises:
        Stopped: When called after such a loop.
    """

    def __init__(self, preemption: Preemption, cuts_loops: bool) -> None:
        self._preemption = preemption
        self._cuts_loops = cuts_loops

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        if self._cuts_loops and self._preemption.signal:
            raise Stopped
