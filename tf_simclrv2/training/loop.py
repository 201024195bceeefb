"""A whole run: Orbit's controller around a task, from config to result."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import orbit
import tensorflow as tf
from absl import logging

from tf_simclrv2.config import ConfigError, ExperimentConfig
from tf_simclrv2.data import (
    Share,
    SkippedImages,
    Source,
    distillation_batches,
    evaluation_batches,
    finetuning_batches,
    pretraining_batches,
)
from tf_simclrv2.data.pipeline import WHOLE
from tf_simclrv2.distribution import make_strategy, split_cpu
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.frozen_protocols import FROZEN_PROTOCOLS, run_frozen_protocols
from tf_simclrv2.optimization import build_optimizer, describe_groups, parameter_groups
from tf_simclrv2.report import BATCH, observe, write_projector, write_report
from tf_simclrv2.saved_model import save_module
from tf_simclrv2.tasks import Distillation, Pretraining, Task, build_task
from tf_simclrv2.training.agreement import Agreement
from tf_simclrv2.training.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.checkpoints import load_weights, refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.training.lost_worker import lost_worker_explained
from tf_simclrv2.training.model_dir import ModelDir
from tf_simclrv2.training.not_finite import stop_if_not_finite
from tf_simclrv2.training.preemption import Preemption
from tf_simclrv2.training.progress import Progress
from tf_simclrv2.training.run_lock import run_lock
from tf_simclrv2.training.run_plan import RunPlan, plan_run
from tf_simclrv2.training.stops import Preempted
from tf_simclrv2.training.summaries import IMAGES_SHOWN, write_hparams, write_scalars, write_views
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.training.verified_checkpoints import (
    Survey,
    new_checkpoints,
    set_aside_damaged,
    survey_checkpoints,
)
from tf_simclrv2.versions import VERSIONS_FILE, versions

Result = dict[str, Any]
Say = Callable[[str], None]

# Seconds without a new checkpoint after which `eval` looks again.
EVAL_PATIENCE = 15
STEPS_PER_LOOP_TPU = 100
STEPS_PER_LOOP = 10


def say_at_once(text: str) -> None:
    """Prints a line that is seen now, in a file too."""
    print(text, flush=True)


class _Log(io.TextIOBase):
    """A stream whose text goes to the log at once, for a run may take days."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.debug("%s", text.rstrip())
        return len(text)


def _orbit_to_log() -> contextlib.AbstractContextManager:
    """Sends what Orbit prints to the log; the terminal has its own lines."""
    return contextlib.redirect_stdout(_Log())


def _to_present_stdout(say: Say) -> Say:
    """`say` whose lines go where standard output goes now, even while Orbit's go to the log."""
    stdout = sys.stdout

    def say_there(text: str) -> None:
        with contextlib.redirect_stdout(stdout):
            say(text)

    return say_there


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
        self.agreement = Agreement(self.strategy)
        self.model_dir = ModelDir(config.run.model_dir, writes=self.chief)
        with lost_worker_explained(self.agreement.workers, self.model_dir.path):
            self._prepare(config)

    def _prepare(self, config: ExperimentConfig) -> None:
        teacher = None
        if config.training.train_mode == "distill":
            with self.strategy.scope():
                teacher = load_teacher(str(config.distillation.teacher), config.training.precision)
            if teacher.doubt:
                self.say(f"teacher: {teacher.doubt}")
        self.plan: RunPlan = plan_run(
            config, self.strategy.num_replicas_in_sync, teacher and teacher.num_classes
        )
        self.config = self.plan.config
        self.model_dir.refuse_other_run(self.config)
        self.skipped = SkippedImages(
            self.plan.train_source.num_examples, self.config.data.max_skipped_fraction
        )
        with self.strategy.scope():
            self.task: Task = build_task(self.config, teacher and teacher.predict)
            self.task.compile(build_optimizer(self.config.optimizer, self.plan.schedule))
            self.trainer = Trainer(self.task, None, self.strategy, self.skipped, self.agreement)
        self.checkpoint = training_checkpoint(self.task, position=self.trainer.positions)
        self.survey = Survey((), None, {})
        if self.config.run.mode != "eval":
            self.survey = survey_checkpoints(self.model_dir.path)
            self._check_start()

    def execute(self) -> Result:
        """Does what `config.run.mode` says.

        Returns:
            The result, as in `result.json`.

        Raises:
            ConfigError: Too many images were unreadable, another program uses the directory, or there is
                nothing to evaluate.
            RunError: The loss was not finite, or a checkpoint could not be saved; the last good one stays.
            Preempted: SIGTERM came; a checkpoint of the last step is there.
        """
        self.say(self.plan.describe())
        self.say(describe_groups(parameter_groups(self.task.network), self.config.optimizer.optimizer))
        if self.config.run.mode == "eval":
            return self._follow_checkpoints()
        with lost_worker_explained(self.agreement.workers, self.model_dir.path):
            result = self._train_then_eval()
            self.agreement.meet()  # While one is at work, the others have to be there.
        return result

    def _train_then_eval(self) -> Result:
        self.model_dir.create()
        with run_lock(self.model_dir.path, self.chief):
            if self.chief:
                set_aside_damaged(self.model_dir.path, self.survey, self.say)
            self.model_dir.write_config(self.config, self.flags)
            self.model_dir.write_report(VERSIONS_FILE, versions())
            if self.chief:
                write_hparams(self.model_dir.path, self.config)
            if self.config.model.num_classes:
                self.model_dir.write_class_names(self.plan.train_source.class_names)
            result = self._train()
            if self.config.run.mode == "train_then_eval":
                return {**result, **self._evaluate()}
            self._report()
            return result

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._global_step.numpy())

    @property
    def _global_step(self) -> tf.Variable:
        return self.task.optimizer.iterations.value

    def _check_start(self) -> None:
        """Checks the checkpoint to resume, or loads the weights to start from."""
        # Also keeps the chief from changing anything before the others have seen it.
        self.agreement.refuse_different("the checkpoint of step", max(self.survey.steps, default=-1))
        if self.survey.whole:
            refuse_foreign_checkpoint(self.checkpoint, self.survey.whole)
        elif self.config.run.checkpoint:
            with self.strategy.scope():
                self.say(str(load_weights(self.task.network, self.config.run.checkpoint)))

    def _train(self) -> Result:
        manager = SafeCheckpointManager(
            self.checkpoint,
            self.model_dir.path,
            self.config.run.keep_checkpoint_max,
            self._global_step,
            self.plan.checkpoint_interval,
            resume=self.survey.whole,
            writes=self.chief,
        )
        progress: Progress | None = None
        last: Result = {}

        def act(output: dict[str, tf.Tensor]) -> None:
            last.update({name: float(value) for name, value in output.items()})
            self.model_dir.write_skipped(self.skipped.names)
            stop_if_not_finite(
                self.trainer,
                self.plan.schedule,
                self.model_dir,
                last["train/total_loss"],
                manager.newest,
            )
            assert progress is not None
            progress(output)

        steps_per_loop = self._steps_per_loop()
        with _orbit_to_log():
            controller = orbit.Controller(
                global_step=self._global_step,
                trainer=self.trainer,
                strategy=self.strategy,
                steps_per_loop=steps_per_loop,
                checkpoint_manager=manager,
                summary_dir=self._summary_dir(),
                train_actions=[act],
            )
        start, total = self.step, self.plan.steps
        if start >= total:
            self.say(f"training is already complete: step {start:,} of {total:,}")
            return {"global_step": start}
        if start:
            self.say(f"resuming from step {start:,} of {total:,}")
        starts = {name: int(position.numpy()) for name, position in self.trainer.positions.items()}
        self.trainer.train_dataset = self.strategy.distribute_datasets_from_function(
            lambda context: self._batches(
                self.plan.train_source,
                self.plan.labelled_source,
                starts=starts,
                share=Share.of_context(context),
            )
        )
        stopped = False
        batch_size, say = self.config.training.train_batch_size, _to_present_stdout(self.say)
        progress = Progress(total, start, batch_size, self._global_step, say)
        try:
            with Preemption() as preemption, _orbit_to_log(), self.skipped.explained():
                if self.chief:
                    self._show_views()
                while self.step < total and not (stopped := self.agreement.any(preemption.asked)):
                    until = min(self.step + steps_per_loop(self.step), total)
                    controller.train(until, checkpoint_at_completion=False)
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

    def _summary_dir(self, name: str = "") -> str | None:
        return os.path.join(self.model_dir.path, name) if self.chief else None

    def _steps_per_loop(self) -> Callable[[int], int]:
        """Never past a checkpoint, so that every `ckpt-N` is there."""
        on_tpu = isinstance(self.strategy, tf.distribute.TPUStrategy)
        most = self.config.run.steps_per_loop or (STEPS_PER_LOOP_TPU if on_tpu else STEPS_PER_LOOP)
        interval = self.plan.checkpoint_interval
        return lambda step: min(most, interval - int(step) % interval)

    def _batches(
        self,
        source: Source,
        labelled: Source | None = None,
        batch_size: int | None = None,
        starts: dict[str, int] | None = None,
        share: Share = WHOLE,
    ) -> tf.data.Dataset:
        starts = starts or {}
        options: dict[str, Any] = {
            "image_size": self.config.model.image_size,
            "batch_size": batch_size or self.config.training.train_batch_size,
            "seed": self.config.training.seed,
            "start": starts.get("key", 0),
            "skipped": self.skipped,
            "share": share,
        }
        if isinstance(self.task, Distillation):
            options["labelled_start"] = starts.get("labelled_key", 0)
            return distillation_batches(source, labelled, self.config.data, **options)
        make = pretraining_batches if isinstance(self.task, Pretraining) else finetuning_batches
        return make(source, self.config.data, **options)

    def _show_views(self) -> None:
        """Leaves pictures of the first few images, augmented."""
        write_views(self.model_dir.path, self.task, self._first_images(IMAGES_SHOWN), self.step)

    def _first_images(self, count: int) -> dict[str, tf.Tensor]:
        """A batch of the first images, augmented; a whole shuffle buffer takes long."""
        source = self.plan.train_source
        few = min(count, source.num_examples)
        some = dataclasses.replace(source, records=source.records.take(few), num_examples=few)
        with self.skipped.explained():
            return next(iter(self._batches(some, batch_size=few)))

    def _evaluate(self) -> Result:
        """Evaluates the network as it stands, and leaves result files and a SavedModel."""
        assert self.plan.eval_source is not None
        step = self.step
        result: Result = {"global_step": step}
        if "online" in self.config.evaluation.protocols:
            result |= self._classify()
        frozen = any(protocol in FROZEN_PROTOCOLS for protocol in self.config.evaluation.protocols)
        if frozen and self.chief:
            found = run_frozen_protocols(
                self.task.network, self.plan.train_source, self.plan.eval_source, self.config, self.say
            )
            write_scalars(f"{self.model_dir.path}/{self._eval_name}", found, step)
            result |= found
        name = self.config.run.eval_name
        self.model_dir.write_result(result, step, name)
        if self.config.run.keep_hub_module_max and self.chief:
            self._export(result)
        self._report()
        self._say_result(result)
        return result

    def _export(self, result: Result) -> None:
        """Leaves a SavedModel, whole or not at all."""
        path = self.model_dir.saved_model(self.step)
        save_module(
            self.task.network,
            f"{path}.part",
            self.config,
            class_names=self.plan.train_source.class_names,
            training=result,
        )
        self.model_dir.replace(f"{path}.part", path)
        self.model_dir.prune_saved_models(self.config.run.keep_hub_module_max)

    def _report(self) -> None:
        """Leaves `report.html` and TensorBoard's projector; a run that is done does not fail for them."""
        most = self.config.run.report_images
        if not (most and self.chief):
            return
        try:
            trained_on = self.plan.train_source
            seen = observe(
                self.task,
                self.plan.eval_source or trained_on,
                self._first_images(BATCH),
                train_examples=trained_on.num_examples,
                step=self.step,
                most=most,
            )
            seen.save(self.model_dir.path)
            write_projector(self.model_dir.path, seen)
            self.say(f"report: {write_report(self.model_dir.path)}")
        except Exception as error:
            self.say(f"no report could be made ({type(error).__name__}: {error}); the run itself is complete")

    def _classify(self) -> Result:
        source = self.plan.eval_source
        assert source is not None
        if not (self.config.model.num_classes and source.has_labels):
            self.say(
                "accuracy is not evaluated: there is no classifier, or the evaluation split has no labels"
            )
            return {"eval/regularization_loss": float(self.task.weight_decay())}
        skipped = SkippedImages(source.num_examples, self.config.data.max_skipped_fraction)
        dataset = self.strategy.distribute_datasets_from_function(
            lambda context: evaluation_batches(
                source,
                image_size=self.config.model.image_size,
                batch_size=self.config.evaluation.eval_batch_size,
                skipped=skipped,
                share=Share.of_context(context),
                steps=self.config.evaluation.eval_steps,
            )
        )
        evaluator = ClassificationEvaluator(self.task, dataset, self.strategy)
        with _orbit_to_log():
            controller = orbit.Controller(
                global_step=self._global_step,
                evaluator=evaluator,
                strategy=self.strategy,
                eval_summary_dir=self._summary_dir(self._eval_name),
            )
            with skipped.explained():
                output = controller.evaluate(steps=-1)
        return {tag: float(value) for tag, value in (output or {}).items()}

    @property
    def _eval_name(self) -> str:
        return self.config.run.eval_name or "eval"

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

    def _say_result(self, result: Result) -> None:
        parts = [f"step {result['global_step']:,}"]
        for tag, name in (("eval/label_top_1_accuracy", "top-1"), ("eval/label_top_5_accuracy", "top-5")):
            if tag in result:
                parts.append(f"{name} {result[tag]:.4f}")
        self.say("result: " + ", ".join(parts) + f" ({self.model_dir.path}/result.json)")
