"""A whole run, from config to result."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.directory_lock import directory_lock
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.strategy import make_strategy
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import VERSIONS_FILE
from tf_simclrv2.literal_path import literal_path
from tf_simclrv2.optimization import describe_groups, parameter_groups
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.evaluation import Result, RunEvaluation
from tf_simclrv2.training.interruptions.lost_worker import lost_worker_explained
from tf_simclrv2.training.interruptions.stop_flag import StopFlag
from tf_simclrv2.training.model_dir.checkpoints import refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.training_images import training_images
from tf_simclrv2.training.model_dir.verified_checkpoints import (
    is_still_whole,
    new_checkpoints,
    set_aside_damaged,
    wait_for_checkpoint,
)
from tf_simclrv2.training.performance import Performance
from tf_simclrv2.training.plan import RunPlan
from tf_simclrv2.training.preparation import PreparedRun, prepare
from tf_simclrv2.training.summaries import write_hparams
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.training.training_loop import TrainingLoop
from tf_simclrv2.versions import versions
from tf_simclrv2.weights.checkpoint_reader import READ_ERRORS
from tf_simclrv2.weights.loading import load_weights

# Seconds without a new checkpoint after which `eval` ends, if no program trains.
EVAL_PATIENCE = 15


class Run:
    """Runs one stage: trains, evaluates, or both.

    The constructor opens the data, builds the task, loads the weights to start from and checks everything
    that can be checked. Nothing is trained and no file is written before this has succeeded.

    Args:
        config: The run. `config.run.model_dir` must be set.
        flags: What the user typed, recorded in `flags.json`; None (the default) records nothing.
        say: Receives each line for the user; by default, it is printed.

    Raises:
        UserError: The run is impossible; the message says why.

    Example:
        >>> result = Run(config).execute()
        >>> result["eval/label_top_1_accuracy"]
        0.98
    """

    def __init__(
        self, config: ExperimentConfig, flags: dict[str, Any] | None = None, say: Say = say_at_once
    ) -> None:
        directory = config.run.require_model_dir()
        keep_compiled_steps(config.run.compile_cache)
        if config.run.virtual_devices:
            split_cpu(config.run.virtual_devices)
        self.say = say
        self.flags = flags or {}
        with phase("waiting for the devices and the other workers", say):
            strategy = make_strategy(config.run)
        self.exchange = WorkerExchange(strategy)
        with lost_worker_explained(self.exchange.workers, directory):
            self.prepared: PreparedRun = prepare(config, strategy, say)
            self.model_dir = ModelDir(directory, chief=self.prepared.chief)
            self.trainer = self._trainer()
            self.checkpoint = training_checkpoint(self.task, position=self.trainer.positions)
            if self.config.run.mode != "eval":
                self._check_start()
        self.evaluation = RunEvaluation(self.prepared, self.model_dir, say)

    @property
    def plan(self) -> RunPlan:
        """Returns the plan of the run."""
        return self.prepared.plan

    @property
    def config(self) -> ExperimentConfig:
        """Returns the resolved config."""
        return self.prepared.config

    @property
    def task(self) -> Task:
        """Returns the compiled task."""
        return self.prepared.task

    @property
    def step(self) -> int:
        """Returns the number of completed steps."""
        return self.prepared.step

    def execute(self) -> Result:
        """Trains, evaluates or both, as `config.run.mode` says.

        Returns:
            The result, as in `result.json`.

        Raises:
            UserError: Too many images were unreadable, another program uses the directory, or there
                is nothing to evaluate.
            RunError: The loss was not finite, a checkpoint could not be saved, or a worker or a data service
                was lost; the last good checkpoint remains.
            Preempted: SIGTERM or Ctrl-C arrived during training; a checkpoint of the last step was saved.
        """
        self.say(self.plan.describe())
        self.say(describe_groups(parameter_groups(self.task.network), self.config.optimizer.optimizer))
        if self.config.run.mode == "eval":
            return self._follow_checkpoints()
        with lost_worker_explained(self.exchange.workers, self.model_dir.path):
            result = self._train_then_eval()
            with phase("waiting for the other workers", self.say):
                self.exchange.meet()  # While one is at work, the others have to be there.
        return result

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other programs out of the model_dir; the chief does that for all workers of its run."""
        if not self.prepared.chief:
            return contextlib.nullcontext()
        cure = (
            "wait until that has ended or use another --model_dir (--mode=eval may run at the same time as "
            "training)"
        )
        return directory_lock(self.model_dir.path, "model_dir", cure)

    def _train_then_eval(self) -> Result:
        self.model_dir.create()
        with self._alone():
            if self.prepared.chief:
                set_aside_damaged(self.model_dir.path, self.prepared.survey, self.say)
            # The checkpoints of a run that was longer stay described by its own config.
            if max(self.prepared.survey.steps, default=0) <= self.plan.steps:
                self._describe()
            result = TrainingLoop(
                self.prepared, self.trainer, self.checkpoint, self.model_dir, self.exchange, self.say
            ).run()
            if self.config.run.mode == "train_then_eval":
                return {**result, **self._evaluate()}
            self.evaluation.report()
            return result

    def _describe(self) -> None:
        """Writes what describes the run."""
        # First, so that whoever finds the config finds them too.
        self.model_dir.write_class_names(self.plan.class_names)
        self.model_dir.write_config(self.config, self.flags)
        plan = self.plan
        images = training_images(plan.train_source, plan.labeled_source, plan.learned_source)
        self.model_dir.write_images(images)
        self.model_dir.write_json(VERSIONS_FILE, versions())
        if self.prepared.chief:
            write_hparams(self.model_dir.path, self.config)

    def _trainer(self) -> Trainer:
        strategy = self.prepared.strategy
        # Outside the scope, for the clock and the flag are the host's alone.
        performance = Performance(self.config.images_per_step, clock=not self.config.training.deterministic)
        on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
        # Several workers have to end at the same step, which they agree on between loops.
        stop = StopFlag() if self.exchange.workers == 1 and not on_tpu else None
        with strategy.scope():
            return Trainer(self.task, None, strategy, self.prepared.skipped, self.exchange, performance, stop)

    def _check_start(self) -> None:
        """Checks the checkpoint to resume, or loads the weights to start from."""
        # Also keeps the chief from changing anything before the others have seen it.
        self.exchange.refuse_different("the checkpoint of step", max(self.prepared.survey.steps, default=-1))
        if self.prepared.survey.whole:
            refuse_foreign_checkpoint(self.checkpoint, self.prepared.survey.whole)
        elif self.config.run.checkpoint:
            names = self.plan.class_names
            with phase("loading the weights", self.say), self.prepared.strategy.scope():
                report = load_weights(self.task.network, self.config.run.checkpoint, self.config, names)
            self.say(str(report))
        elif (block := self.config.model.fine_tune_after_block) >= 0:
            raise ConfigError(
                f"fine_tune_after_block is {block}, but without --checkpoint that would freeze random "
                "weights; use --train_mode=finetune or distill with --checkpoint, or leave it at -1."
            )
        elif self.config.training.train_mode == "finetune":
            self.say("checkpoint is not set: fine-tuning starts from random weights")
        if self.prepared.service:
            with phase("waiting for the data services", self.say):
                self.prepared.service.wait(self.config.run.cluster_timeout)

    def _evaluate(self) -> Result:
        return self.evaluation.evaluate()

    def _follow_checkpoints(self) -> Result:
        """Evaluates checkpoints as they appear, until the one of the last step or the end of the training."""
        wait_for_checkpoint(self.model_dir.path, EVAL_PATIENCE)
        result: Result = {}
        for prefix in new_checkpoints(self.model_dir.path, EVAL_PATIENCE):
            if not self._restore(prefix):
                continue
            self.say(f"evaluating step {self.step:,} of {self.plan.steps:,}")
            result = self._evaluate()
            if self.step >= self.plan.steps:
                return result
            self.say("waiting for the next checkpoint")
        if not result:
            raise CheckpointError(
                f"the checkpoints in model_dir {self.model_dir.path!r} were removed before they could be "
                "evaluated; run the same command while its training continues."
            )
        self.say(f"no training is running: the evaluation ends at step {self.step:,} of {self.plan.steps:,}")
        return result

    def _restore(self, prefix: str) -> bool:
        """Restores a checkpoint; returns False if its training has removed it meanwhile."""
        try:
            refuse_foreign_checkpoint(self.checkpoint, prefix)
            self.model_dir.refuse_other_classes(self.plan.sources)  # They may be newer than the plan.
            with self.prepared.strategy.scope():
                self.checkpoint.restore(literal_path(prefix)).assert_consumed()
        except READ_ERRORS:
            if is_still_whole(prefix):
                raise
            return False
        return True
