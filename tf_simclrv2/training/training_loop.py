"""The outer loop of training: Orbit's controller, from the step where a run stands to its last one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import orbit
import tensorflow as tf

from tf_simclrv2.data import Share
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import Preempted
from tf_simclrv2.progress import Say
from tf_simclrv2.training.evaluation import Result
from tf_simclrv2.training.interruptions.lost_service import lost_service_explained
from tf_simclrv2.training.interruptions.preemption import Preemption
from tf_simclrv2.training.knn_curve import KnnCurve
from tf_simclrv2.training.loop_actions import LastOutput, StopIfNotFinite, WriteSkippedImages
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.orbit_output import orbit_to_log, to_present_stdout
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.progress import TrainingProgress
from tf_simclrv2.training.summaries import IMAGES_SHOWN, write_views
from tf_simclrv2.training.trainer import Trainer

STEPS_PER_LOOP_TPU = 100
STEPS_PER_LOOP = 10


class TrainingLoop:
    """Trains a prepared run.

    Args:
        prepared: The run.
        trainer: Its inner loop.
        checkpoint: What is saved and resumed.
        model_dir: Where files go.
        exchange: Tells whether any worker was asked to stop.
        say: Where lines for the user go.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        trainer: Trainer,
        checkpoint: tf.train.Checkpoint,
        model_dir: ModelDir,
        exchange: WorkerExchange,
        say: Say,
    ) -> None:
        self._prepared = prepared
        self._trainer = trainer
        self._model_dir = model_dir
        self._exchange = exchange
        self._say = say
        self._last = LastOutput()
        self._manager = SafeCheckpointManager(
            checkpoint,
            model_dir.path,
            prepared.config.run.keep_checkpoint_max,
            prepared.task.global_step,
            prepared.plan.checkpoint_interval,
            resume=prepared.survey.whole,
            chief=prepared.chief,
        )

    def run(self) -> Result:
        """Trains up to the last step, from the newest checkpoint if there is one.

        Returns:
            The step and the means of the last loop.

        Raises:
            Preempted: SIGTERM came; a checkpoint of the last step is there.
            RunError: The loss was not finite, a checkpoint could not be saved, or a data service went away.
        """
        curve = KnnCurve(self._prepared, self._model_dir.path, self._present_say)
        controller = self._controller(curve.interval)
        start, total = self._prepared.step, self._prepared.plan.steps
        if start >= total:
            self._say(f"training is already complete: step {start:,} of {total:,}")
            return {"global_step": start}
        self._announce(start, total)
        self._feed()
        with self._explained(), contextlib.closing(self._progress(start, total)) as progress:
            controller.train_actions = (
                self._last,
                WriteSkippedImages(self._model_dir, self._prepared.skipped),
                StopIfNotFinite(self._prepared, self._trainer, self._model_dir, self._manager),
                progress,
                curve,
            )
            stopped = self._train(controller, total)
        if stopped:
            raise Preempted(
                f"stopped by SIGTERM at step {self._prepared.step:,} of {total:,}; all is saved in "
                f"{self._manager.newest}, and the same command continues from there."
            )
        self._conclude()
        return {"global_step": self._prepared.step, **self._last.values}

    def _train(self, controller: orbit.Controller, total: int) -> bool:
        """Trains until the last step, or until a worker is asked to stop, which it returns."""
        stopped = False
        with Preemption() as preemption, orbit_to_log():
            if self._prepared.chief:
                self._show_views()
            while self._prepared.step < total and not (stopped := self._exchange.any(preemption.asked)):
                until = min(self._prepared.step + controller.steps_per_loop, total)
                controller.train(until, checkpoint_at_completion=False)
            controller.save_checkpoint()
        return stopped

    def _controller(self, curve_interval: int) -> orbit.Controller:
        """Orbit's controller; making it restores the checkpoint to resume."""
        with orbit_to_log():
            return orbit.Controller(
                global_step=self._prepared.task.global_step,
                trainer=self._trainer,
                strategy=self._prepared.strategy,
                steps_per_loop=self._steps_per_loop(curve_interval),
                checkpoint_manager=self._manager,
                summary_dir=self._model_dir.path if self._prepared.chief else None,
            )

    def _steps_per_loop(self, curve_interval: int) -> Callable[[int], int]:
        """Never past a checkpoint, so that every `ckpt-N` is there, nor past a point of the curve."""
        on_tpu = isinstance(self._prepared.strategy, tf.distribute.TPUStrategy)
        most = self._prepared.config.run.steps_per_loop or (STEPS_PER_LOOP_TPU if on_tpu else STEPS_PER_LOOP)
        intervals = [self._prepared.plan.checkpoint_interval, *([curve_interval] if curve_interval else [])]
        return lambda step: min(most, *(interval - int(step) % interval for interval in intervals))

    def _feed(self) -> None:
        """Gives the trainer its batches, from the example after the last one that was trained on."""
        starts = {name: int(position.numpy()) for name, position in self._trainer.positions.items()}
        self._trainer.train_dataset = self._prepared.strategy.distribute_datasets_from_function(
            lambda context: self._prepared.batches.training(starts, Share.of_context(context))
        )

    def _progress(self, start: int, total: int) -> TrainingProgress:
        return TrainingProgress(
            total,
            start,
            self._prepared.config.images_per_step,
            self._prepared.task.global_step,
            self._present_say,
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """However training ends, the list of unreadable images is complete and the reason is a sentence."""
        prepared = self._prepared
        try:
            with (
                prepared.skipped.explained(),
                lost_service_explained(prepared.service, self._model_dir.path),
            ):
                yield
        finally:
            self._model_dir.write_skipped(prepared.skipped.names)

    @property
    def _present_say(self) -> Say:
        """For lines while Orbit's own go to the log."""
        return to_present_stdout(self._say)

    def _announce(self, start: int, total: int) -> None:
        if start:
            self._say(f"resuming from step {start:,} of {total:,}")
        if self._prepared.task.compile_mode != "none":
            self._say("compiling the step, which takes about half a minute the first time")

    def _conclude(self) -> None:
        skipped, loss = self._prepared.skipped, self._last.values["train/total_loss"]
        if skipped.count:
            self._say(f"{skipped.count} unreadable image(s) were skipped: {skipped.shown()}")
        self._say(f"trained to step {self._prepared.step:,}, loss {loss:.4f} ({self._manager.newest})")

    def _show_views(self) -> None:
        """Writes pictures of the first few images, augmented."""
        prepared = self._prepared
        batch = prepared.batches.first(IMAGES_SHOWN)
        write_views(self._model_dir.path, prepared.task, batch, prepared.step)
