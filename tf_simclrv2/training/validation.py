"""The best checkpoint of a run, and when it may stop: what is measured with each checkpoint."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.progress import Say
from tf_simclrv2.training.accuracy_measure import AccuracyMeasure
from tf_simclrv2.training.model_dir.best_checkpoint import Best, BestCheckpoint
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.measurements import Measurement, Measurements
from tf_simclrv2.training.model_dir.metrics_log import VALIDATION, MetricsLog
from tf_simclrv2.training.preparation import PreparedRun

SECONDS = "validation/seconds"


class Validation:
    """Measures the network with each checkpoint, keeps the best one, and says when training may stop.

    The disk says what was measured before: `best/best.json` what is best, `validation.json` which steps were
    measured since. A checkpoint is saved before it is measured, so a run that is killed meanwhile measures
    it when it resumes. Without `keep_best`, nothing is measured.

    Args:
        prepared: The run.
        manager: Saves its checkpoints.
        log: Gets a line for each measurement.
        exchange: Lets all workers decide the same.
        say: Where lines for the user go.
        stop_if_asked: Called with each batch; raises if the run is to stop, which leaves the measurement to
            the run that resumes.

    Attributes:
        is_over: Whether so many measurements in a row as `patience` says have not been better.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        manager: SafeCheckpointManager,
        log: MetricsLog,
        exchange: WorkerExchange,
        say: Say,
        stop_if_asked: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.is_over = False
        self._prepared, self._plan = prepared, prepared.plan
        self._manager, self._model_dir = manager, prepared.config.run.require_model_dir()
        self._log, self._exchange, self._say = log, exchange, say
        self._folder = BestCheckpoint(self._model_dir)
        self._best: Best | None = None
        self._measure: AccuracyMeasure | None = None
        source = self._plan.validation_source
        if source is not None:
            self._measure = AccuracyMeasure(prepared, exchange, say, stop_if_asked)
            split = str(prepared.config.data.validation_split)
            self._measurements = Measurements(self._measure.metric, split, source.num_examples)

    @property
    def tag(self) -> str:
        """The tag of the accuracy in TensorBoard."""
        return f"validation/{self._measurements.metric}_top_1_accuracy"

    @property
    def words(self) -> dict[str, str]:
        """What a progress line says of the last measurement and the best one; {} before the first."""
        if self._measure is None or self._best is None or not self._measurements.made:
            return {}
        last, metric = self._measurements.made[-1], self._measurements.metric
        return {metric: f"{last.value:.3f} (best {self._best.value:.3f})"}

    def resume(self, step: int) -> None:
        """Reads what was measured up to a step, and measures its checkpoint if it was not."""
        if self._measure is None:
            return
        if self._prepared.chief:
            self._read(step)
        is_missing = self._is_due(step) and not self._measurements.has(step)
        if self._exchange.any(self._prepared.chief and is_missing):
            self._measure_now(step, self._measure)
            return
        before = self._measurements.stopped_early
        self._decide(step)
        if self._prepared.chief and self._measurements.stopped_early != before:  # By a new --patience.
            self._measurements.write(self._model_dir)

    def measure_if_due(self) -> None:
        """Measures the network if its step is one of those with a checkpoint, which is saved first."""
        step = self._prepared.step
        if self._measure is not None and self._is_due(step):
            self._manager.save(check_interval=False)
            self._measure_now(step, self._measure)

    @property
    def result(self) -> dict[str, Any]:
        """What the result of the run says."""
        return result_of_validation(self._model_dir, self._prepared.step) if self._measure else {}

    @property
    def conclusion(self) -> str:
        """A line about the best checkpoint, and whether training stopped early; empty without one."""
        if self._best is None or self._measure is None:
            return ""
        best, stopped = self._best, self._measurements.stopped_early
        measured = f"{best.metric} {best.value:.4f} on {best.images:,} images of {best.split}"
        kept = f"best checkpoint: {self._folder.prefix(best)}, {measured}"
        if stopped is None:
            return kept
        step, total, patience = stopped["step"], self._plan.steps, stopped["patience"]
        return (
            f"stopped early at step {step:,} of {total:,}, after {patience:,} measurement(s) without a new "
            f"best; raise --patience, or leave it out, to continue\n{kept}"
        )

    def _is_due(self, step: int) -> bool:
        return step > 0 and (step % self._plan.checkpoint_interval == 0 or step == self._plan.steps)

    def _read(self, step: int) -> None:
        asked = self._measurements
        found = Measurements.read(self._model_dir)
        if found and (found.metric, found.split, found.images) == (asked.metric, asked.split, asked.images):
            self._measurements = found.until(step)
        best, reason = self._folder.read(), self._folder.why_unusable()
        if reason is not None:
            self._say(f"{self._folder.folder} cannot be used ({reason}); the best from now on will be kept")
        elif best is not None and not best.is_comparable(self._as_best(step, 0.0)):
            self._say(
                f"{self._folder.folder} was chosen by {best.metric} on {best.split}; it will be replaced"
            )
        elif step:
            self._best = best
            self._folder.tidy()

    def _measure_now(self, step: int, measure: AccuracyMeasure) -> None:
        begin = time.perf_counter()
        value = measure()
        seconds = time.perf_counter() - begin
        if self._prepared.chief:
            self._note(Measurement(step, round(self._plan.epoch(step), 6), value, round(seconds, 3)))
        self._decide(step)
        if self._prepared.chief:
            self._measurements.write(self._model_dir)

    def _note(self, measurement: Measurement) -> None:
        """Shows a measurement, and keeps its checkpoint if it is the best."""
        step, value, seconds = measurement.step, measurement.value, measurement.seconds
        numbers = {self.tag: value, SECONDS: seconds}
        self._write(numbers, step)
        before = self._best
        if before is None or value > before.value:
            self._best = self._as_best(step, value)
            self._folder.keep(str(self._manager.newest), self._best)
            compared = "the best so far"
        else:
            compared = f"best {before.value:.4f} at step {before.step:,}"
        self._measurements = self._measurements.and_then(measurement)
        metric = self._measurements.metric
        self._say(f"step {step:,}: {metric} {value:.4f} on validation images, {compared} ({seconds:.1f} s)")

    def _write(self, numbers: dict[str, float], step: int) -> None:
        with self._writer.as_default():
            for tag, number in numbers.items():
                tf.summary.scalar(tag, number, step=step)
        self._writer.flush()
        self._log.write(VALIDATION, step, numbers)

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        return tf.summary.create_file_writer(self._model_dir, filename_suffix=".validation")

    def _decide(self, step: int) -> None:
        """Decides, for all workers, whether training is over."""
        patience, over = self._prepared.config.training.patience, False
        if self._best is not None and patience:  # The chief's.
            over = self._measurements.after(self._best.step) >= patience and step < self._plan.steps
            stopped = {"step": step, "patience": patience} if over else None
            self._measurements = dataclasses.replace(self._measurements, stopped_early=stopped)
        self.is_over = self._exchange.any(over)

    def _as_best(self, step: int, value: float) -> Best:
        asked = self._measurements
        return Best(step, asked.metric, value, asked.split, asked.images)


def result_of_validation(model_dir: str, step: int) -> dict[str, Any]:
    """Returns what the files of a run say of its best checkpoint, for its result.

    Args:
        model_dir: The run's directory.
        step: The step of the result.

    Returns:
        `best`, with what `best.json` says, and `stopped_early`, with the step and the patience, if training
        was stopped there; {} if the run keeps no best checkpoint.
    """
    best, made = BestCheckpoint(model_dir).read(), Measurements.read(model_dir)
    if best is None:
        return {}
    stopped = made.stopped_early if made else None
    is_last = stopped is not None and stopped["step"] == step
    return {"best": dataclasses.asdict(best), **({"stopped_early": stopped} if is_last else {})}
