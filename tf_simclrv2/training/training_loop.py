"""The outer loop of training: Orbit's controller, from the step where a run stands to its last one."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

import orbit
import tensorflow as tf

from tf_simclrv2.data import Share
from tf_simclrv2.distribution.compilation import COMPILING
from tf_simclrv2.distribution.device_errors import cures_of_training, device_errors_explained
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import Preempted
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.training.evaluation import Result
from tf_simclrv2.training.interruptions.lost_service import lost_service_explained
from tf_simclrv2.training.interruptions.preemption import EXIT_CODES, NAMES, Preemption
from tf_simclrv2.training.knn_curve import KnnCurve
from tf_simclrv2.training.loop_actions import (
    LastOutput,
    StopIfAsked,
    StopIfNotFinite,
    Stopped,
    WriteSkippedImages,
)
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.metrics_log import MetricsLog
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.orbit_output import orbit_to_log, past_the_log
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.training.progress import TrainingProgress
from tf_simclrv2.training.summaries import IMAGES_SHOWN, LoggedSummaries, write_views
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.training.validation import Validation

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
        self._start = prepared.step
        self._preemption = self._make_preemption()
        self._stop_if_asked = StopIfAsked(self._preemption, cuts_loops=trainer.stop is not None)
        self._manager = SafeCheckpointManager(
            checkpoint,
            model_dir.path,
            prepared.config.run.keep_checkpoint_max,
            prepared.task.global_step,
            prepared.plan.checkpoint_interval,
            resume=prepared.survey.whole,
            chief=prepared.chief,
        )
        self._log = MetricsLog(model_dir.path, prepared.plan.epoch, prepared.chief)
        self._validation = Validation(
            prepared, self._manager, self._log, exchange, self._present_say, self._stop_if_asked
        )

    def run(self) -> Result:
        """Trains up to the last step or until patience ends, from the newest checkpoint if there is one.

        Returns:
            The step, the means of the last loop, and what is known of the best checkpoint.

        Raises:
            Preempted: SIGTERM or Ctrl-C came; a checkpoint of the last step is there.
            KeyboardInterrupt: Ctrl-C came before the first step was done, or twice.
            RunError: The loss was not finite, a checkpoint could not be saved, or a data service went away.
        """
        curve = KnnCurve(self._prepared, self._present_say, self._stop_if_asked)
        controller = self._controller(curve.interval)
        start, total = self._prepared.step, self._prepared.plan.steps
        self._start = start
        self._log.begin(start)
        with self._explained():
            self._validation.resume(start)
        if start >= total or self._validation.is_over:
            self._say_complete(start, total)
            return {"global_step": start, **self._validation.result}
        self._announce(start, total)
        self._feed()
        with (
            self._explained(),
            contextlib.closing(self._progress(start, total)) as progress,
            self._preemption,
        ):
            controller.train_actions = (
                self._last,
                WriteSkippedImages(self._model_dir, self._prepared.skipped),
                StopIfNotFinite(self._prepared, self._trainer, self._model_dir),
                progress,
                self._stop_if_asked,
                curve,
            )
            stopped_by = self._train(controller, total)
        if stopped_by:
            raise Preempted(
                f"stopped by {NAMES[stopped_by]} at step {self._prepared.step:,} of {total:,}; everything "
                f"is saved in {self._manager.newest}; type the same command to continue",
                EXIT_CODES[stopped_by],
            )
        self._conclude()
        return {"global_step": self._prepared.step, **self._last.values, **self._validation.result}

    def _train(self, controller: orbit.Controller, total: int) -> signal.Signals | None:
        """Trains to the last step, until patience ends, or until a worker gets a signal, which it returns."""
        with orbit_to_log():
            if self._prepared.chief:
                self._show_views()
            while not (stopped_by := self._signal_of_any()) and self._goes_on(total):
                until = min(self._prepared.step + controller.steps_per_loop, total)
                with contextlib.suppress(Stopped):
                    controller.train(until, checkpoint_at_completion=False)
                    self._validation.measure_if_due()
            controller.save_checkpoint()
        # Saving takes long enough for a signal to come; and all workers end when all have saved.
        return self._signal_of_any() or stopped_by

    def _goes_on(self, total: int) -> bool:
        return self._prepared.step < total and not self._validation.is_over

    def _signal_of_any(self) -> signal.Signals | None:
        """The signal that any worker got, the same for all of them."""
        number = max(self._exchange.each(self._preemption.signal))
        return signal.Signals(number) if number else None

    def _make_preemption(self) -> Preemption:
        """Notes Ctrl-C once a step is done; of several workers, all have to do the same from the start on."""
        stop = self._trainer.stop
        if stop is None:
            return Preemption(say=self._present_say)
        return Preemption(stop.set, self._has_trained, self._present_say)

    def _has_trained(self) -> bool:
        with tf.init_scope():  # The signal may come while a step is traced.
            return self._prepared.step > self._start

    def _controller(self, curve_interval: int) -> orbit.Controller:
        """Orbit's controller; making it restores the checkpoint to resume."""
        with phase("restoring the checkpoint", self._present_say), orbit_to_log():
            return orbit.Controller(
                global_step=self._prepared.task.global_step,
                trainer=self._trainer,
                strategy=self._prepared.strategy,
                steps_per_loop=self._steps_per_loop(curve_interval),
                checkpoint_manager=self._manager,
                summary_manager=LoggedSummaries(
                    self._model_dir.path if self._prepared.chief else None,
                    self._prepared.task.global_step,
                    self._log,
                ),
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
        with phase("preparing the batches", self._present_say):
            self._trainer.train_dataset = self._prepared.strategy.distribute_datasets_from_function(
                lambda context: self._prepared.batches.training(starts, Share.of_context(context))
            )

    def _progress(self, start: int, total: int) -> TrainingProgress:
        return TrainingProgress(
            self._prepared.task,
            total,
            start,
            self._present_say,
            # A step of several workers or of a TPU is not interrupted for a look at it.
            look=self._trainer.stop is not None,
            more=lambda: self._validation.words,
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """However training ends, the list of unreadable images is complete and the reason is a sentence."""
        prepared = self._prepared
        try:
            with (
                prepared.skipped.explained(),
                lost_service_explained(prepared.service, self._model_dir.path),
                device_errors_explained(self._cures()),
            ):
                yield
        finally:
            self._model_dir.write_skipped(prepared.skipped.names)

    def _cures(self) -> str:
        """What to do if memory runs out."""
        replicas = self._prepared.strategy.num_replicas_in_sync
        return cures_of_training(self._prepared.config.training, replicas, begun=self._start > 0)

    @property
    def _present_say(self) -> Say:
        """For lines while Orbit's own go to the log."""
        return past_the_log(self._say)

    def _announce(self, start: int, total: int) -> None:
        if start:
            self._say(f"resuming from step {start:,} of {total:,}")
        if self._prepared.task.compile_mode != "none":
            self._say(COMPILING)

    def _say_complete(self, start: int, total: int) -> None:
        if start >= total:
            more = ", which is more than these flags ask for" if start > total else ""
            self._say(f"training is already complete: step {start:,} of {total:,}{more}")
        self._say_of_best()

    def _say_of_best(self) -> None:
        if conclusion := self._validation.conclusion:
            self._say(conclusion)

    def _conclude(self) -> None:
        skipped, loss = self._prepared.skipped, self._prepared.task.loss_names[0]
        if skipped.count:
            self._say(f"{skipped.count} unreadable image(s) were skipped: {skipped.shown()}")
        value = self._last.values[f"train/{loss}"]
        self._say(f"trained to step {self._prepared.step:,}, {loss} {value:.4f} ({self._manager.newest})")
        self._say_of_best()

    def _show_views(self) -> None:
        """Writes pictures of the first few images, augmented."""
        prepared = self._prepared
        batch = prepared.batches.first(IMAGES_SHOWN)
        write_views(self._model_dir.path, prepared.task, batch, prepared.step)
