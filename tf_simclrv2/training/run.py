"""A whole run: Orbit's controller around a task, from config to result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import orbit
import tensorflow as tf

from tf_simclrv2.compilation_cache import keep_compiled_steps
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import ServiceClient, Share, SkippedImages
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.strategy import make_strategy
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import ConfigError, Preempted
from tf_simclrv2.files import VERSIONS_FILE
from tf_simclrv2.optimization import build_optimizer, describe_groups, parameter_groups
from tf_simclrv2.progress import Say
from tf_simclrv2.tasks import Task, build_task
from tf_simclrv2.training.batches import StageBatches
from tf_simclrv2.training.evaluation import Result, RunEvaluation
from tf_simclrv2.training.interruptions.lost_service import lost_service_explained
from tf_simclrv2.training.interruptions.lost_worker import lost_worker_explained
from tf_simclrv2.training.interruptions.not_finite import stop_if_not_finite
from tf_simclrv2.training.interruptions.preemption import Preemption
from tf_simclrv2.training.knn_curve import KnnCurve
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.checkpoints import refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.training.model_dir.lock import run_lock
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.verified_checkpoints import (
    Survey,
    new_checkpoints,
    set_aside_damaged,
    survey_checkpoints,
)
from tf_simclrv2.training.orbit_output import orbit_to_log, to_present_stdout
from tf_simclrv2.training.performance import Performance
from tf_simclrv2.training.plan import RunPlan, plan_run
from tf_simclrv2.training.progress import TrainingProgress
from tf_simclrv2.training.summaries import IMAGES_SHOWN, write_hparams, write_views
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.versions import versions
from tf_simclrv2.weights.loading import load_weights

# Seconds without a new checkpoint after which `eval` looks again.
EVAL_PATIENCE = 15
STEPS_PER_LOOP_TPU = 100
STEPS_PER_LOOP = 10


def say_at_once(text: str) -> None:
    """Prints a line that is seen now, in a file too."""
    print(text, flush=True)


class Run:
    """One run of one stage.

    Making it opens the data, builds the task and checks all that can be checked; nothing is trained
    and no file is touched before that has succeeded.

    Args:
        config: What to do. `config.run.model_dir` must be set.
        flags: What the user typed, left in `flags.json`.
        say: Where lines for the user go.

    Raises:
        ConfigError: The run cannot be done, and why.

    Example:
        >>> result = Run(config).execute()
        >>> result["eval/label_top_1_accuracy"]
        0.98
    """

    def __init__(
        self, config: ExperimentConfig, flags: dict[str, Any] | None = None, say: Say = say_at_once
    ) -> None:
        if not config.run.model_dir:
            raise ConfigError("model_dir is not set; pass --model_dir=DIR, where the run leaves its files.")
        keep_compiled_steps(config.run.compile_cache)
        if config.run.virtual_devices:
            split_cpu(config.run.virtual_devices)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(config.training.seed)
        self.say = say
        self.flags = flags or {}
        self.strategy = make_strategy(config.run)
        # The worker that leaves files; the others take part in all that is computed.
        self.chief = self.strategy.extended.should_checkpoint
        self.exchange = WorkerExchange(self.strategy)
        self.model_dir = ModelDir(config.run.model_dir, writes=self.chief)
        with lost_worker_explained(self.exchange.workers, self.model_dir.path):
            self._prepare(config)

    def _prepare(self, config: ExperimentConfig) -> None:
        teacher = None
        if config.training.train_mode == "distill":
            with self.strategy.scope():
                teacher = load_teacher(str(config.distillation.teacher), config.training.precision)
            if teacher.doubt:
                self.say(f"teacher: {teacher.doubt}")
        self.plan: RunPlan = plan_run(
            config,
            self.strategy.num_replicas_in_sync,
            teacher and teacher.classes,
            self.model_dir.classes(),
        )
        self.config = self.plan.config
        self.model_dir.refuse_other_run(self.config)
        self.model_dir.refuse_other_classes(self.plan.sources)
        self.skipped = SkippedImages(
            self.plan.train_source.num_examples, self.config.data.max_skipped_fraction
        )
        performance = Performance(self.config.images_per_step, self.config.training.deterministic)
        with self.strategy.scope():
            self.task: Task = build_task(self.config, teacher and teacher.predict)
            self.task.compile(build_optimizer(self.config.optimizer, self.plan.schedule))
            self.trainer = Trainer(self.task, None, self.strategy, self.skipped, self.exchange, performance)
        self.service = ServiceClient.of(self.config.data)
        self.batches = StageBatches(self.plan, self.skipped, self.service)
        self.evaluation = RunEvaluation(
            self.task, self.plan, self.strategy, self.model_dir, self.batches, self.say
        )
        self.checkpoint = training_checkpoint(self.task, position=self.trainer.positions)
        self.survey = Survey((), None, {})
        if self.config.run.mode != "eval":
            self.survey = survey_checkpoints(self.model_dir.path)
            self._check_start()
            if self.service:
                self.service.wait(self.config.run.cluster_timeout)

    def execute(self) -> Result:
        """Does what `config.run.mode` says.

        Returns:
            The result, as in `result.json`.

        Raises:
            ConfigError: Too many images were unreadable, another program uses the directory, or there is
                nothing to evaluate.
            RunError: The loss was not finite, a checkpoint could not be saved, or a worker or a data service
                went away; the last good checkpoint stays.
            Preempted: SIGTERM came; a checkpoint of the last step is there.
        """
        self.say(self.plan.describe())
        self.say(describe_groups(parameter_groups(self.task.network), self.config.optimizer.optimizer))
        if self.config.run.mode == "eval":
            return self._follow_checkpoints()
        with lost_worker_explained(self.exchange.workers, self.model_dir.path):
            result = self._train_then_eval()
            self.exchange.meet()  # While one is at work, the others have to be there.
        return result

    def _train_then_eval(self) -> Result:
        self.model_dir.create()
        with run_lock(self.model_dir.path, self.chief):
            if self.chief:
                set_aside_damaged(self.model_dir.path, self.survey, self.say)
            # First, so that whoever finds the config finds them too.
            self.model_dir.write_class_names(self.plan.class_names)
            self.model_dir.write_config(self.config, self.flags)
            self.model_dir.write_json(VERSIONS_FILE, versions())
            if self.chief:
                write_hparams(self.model_dir.path, self.config)
            result = self._train()
            if self.config.run.mode == "train_then_eval":
                return {**result, **self._evaluate()}
            self.evaluation.report()
            return result

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.task.global_step.numpy())

    def _check_start(self) -> None:
        """Checks the checkpoint to resume, or loads the weights to start from."""
        # Also keeps the chief from changing anything before the others have seen it.
        self.exchange.refuse_different("the checkpoint of step", max(self.survey.steps, default=-1))
        if self.survey.whole:
            refuse_foreign_checkpoint(self.checkpoint, self.survey.whole)
        elif self.config.run.checkpoint:
            with self.strategy.scope():
                names = self.plan.train_source.class_names
                self.say(str(load_weights(self.task.network, self.config.run.checkpoint, self.config, names)))

    def _train(self) -> Result:
        manager = SafeCheckpointManager(
            self.checkpoint,
            self.model_dir.path,
            self.config.run.keep_checkpoint_max,
            self.task.global_step,
            self.plan.checkpoint_interval,
            resume=self.survey.whole,
            writes=self.chief,
        )
        progress: TrainingProgress | None = None
        last: Result = {}

        def act(output: dict[str, tf.Tensor]) -> None:
            last.update({name: float(value) for name, value in output.items()})
            self.model_dir.write_skipped(self.skipped.names)
            stop_if_not_finite(
                self.trainer.first_bad_step,
                self.task,
                self.plan.schedule,
                self.model_dir,
                last["train/total_loss"],
                manager.newest,
            )
            assert progress is not None
            progress(output)

        curve = KnnCurve(self.task.network, self.plan, self.model_dir.path, self.chief, self.say)
        steps_per_loop = self._steps_per_loop(curve.interval)
        with orbit_to_log():
            controller = orbit.Controller(
                global_step=self.task.global_step,
                trainer=self.trainer,
                strategy=self.strategy,
                steps_per_loop=steps_per_loop,
                checkpoint_manager=manager,
                summary_dir=self.model_dir.path if self.chief else None,
                train_actions=[act],
            )
        start, total = self.step, self.plan.steps
        if start >= total:
            self.say(f"training is already complete: step {start:,} of {total:,}")
            return {"global_step": start}
        if start:
            self.say(f"resuming from step {start:,} of {total:,}")
        if self.task.compile_mode != "none":
            self.say("compiling the step, which takes about half a minute the first time")
        starts = {name: int(position.numpy()) for name, position in self.trainer.positions.items()}
        self.trainer.train_dataset = self.strategy.distribute_datasets_from_function(
            lambda context: self.batches.training(starts, Share.of_context(context))
        )
        stopped = False
        batch_size, say = self.config.images_per_step, to_present_stdout(self.say)
        progress = TrainingProgress(total, start, batch_size, self.task.global_step, say)
        try:
            with (
                Preemption() as preemption,
                orbit_to_log(),
                self.skipped.explained(),
                lost_service_explained(self.service, self.model_dir.path),
            ):
                if self.chief:
                    self._show_views()
                while self.step < total and not (stopped := self.exchange.any(preemption.asked)):
                    until = min(self.step + steps_per_loop(self.step), total)
                    controller.train(until, checkpoint_at_completion=False)
                    curve.extend(self.step)
                controller.save_checkpoint()
        finally:
            progress.close()
            self.model_dir.write_skipped(self.skipped.names)
        if stopped:
            raise Preempted(
                f"stopped by SIGTERM at step {self.step:,} of {total:,}; all is saved in "
                f"{manager.newest}, and the same command goes on from there."
            )
        if self.skipped.count:
            self.say(f"{self.skipped.count} unreadable image(s) were skipped: {self.skipped.shown()}")
        loss = last["train/total_loss"]
        self.say(f"trained to step {self.step:,}, loss {loss:.4f} ({manager.newest})")
        return {"global_step": self.step, **last}

    def _steps_per_loop(self, curve_interval: int) -> Callable[[int], int]:
        """Never past a checkpoint, so that every `ckpt-N` is there, nor past a point of the curve."""
        on_tpu = isinstance(self.strategy, tf.distribute.TPUStrategy)
        most = self.config.run.steps_per_loop or (STEPS_PER_LOOP_TPU if on_tpu else STEPS_PER_LOOP)
        intervals = [interval for interval in (self.plan.checkpoint_interval, curve_interval) if interval]
        return lambda step: min(most, *(interval - int(step) % interval for interval in intervals))

    def _show_views(self) -> None:
        """Leaves pictures of the first few images, augmented."""
        write_views(self.model_dir.path, self.task, self.batches.first(IMAGES_SHOWN), self.step)

    def _evaluate(self) -> Result:
        return self.evaluation.evaluate()

    def _follow_checkpoints(self) -> Result:
        """Evaluates checkpoints as they appear, until the one of the last step."""
        if not tf.io.gfile.isdir(self.model_dir.path):
            raise ConfigError(
                f"model_dir is {self.model_dir.path!r}, which does not exist; "
                "name the directory of a training."
            )
        result: Result = {}
        for prefix in new_checkpoints(self.model_dir.path, EVAL_PATIENCE):
            refuse_foreign_checkpoint(self.checkpoint, prefix)
            self.model_dir.refuse_other_classes(self.plan.sources)  # They may be newer than the plan.
            with self.strategy.scope():
                self.checkpoint.restore(prefix).assert_consumed()
            result = self._evaluate()
            if self.step >= self.plan.steps:
                break
        if not result:
            raise ConfigError(
                f"there is no checkpoint in model_dir {self.model_dir.path!r}, and none came within "
                f"{EVAL_PATIENCE} s; start its training first."
            )
        return result
