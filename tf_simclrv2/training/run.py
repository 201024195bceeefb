"""A whole run, from config to result."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.strategy import make_strategy
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import VERSIONS_FILE
from tf_simclrv2.optimization import describe_groups, parameter_groups
from tf_simclrv2.progress import Say
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.evaluation import Result, RunEvaluation
from tf_simclrv2.training.interruptions.lost_worker import lost_worker_explained
from tf_simclrv2.training.model_dir.checkpoints import refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.training.model_dir.lock import run_lock
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.verified_checkpoints import new_checkpoints, set_aside_damaged
from tf_simclrv2.training.performance import Performance
from tf_simclrv2.training.plan import RunPlan
from tf_simclrv2.training.preparation import PreparedRun, prepare
from tf_simclrv2.training.summaries import write_hparams
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.training.training_loop import TrainingLoop
from tf_simclrv2.versions import versions
from tf_simclrv2.weights.loading import load_weights

# Seconds without a new checkpoint after which `eval` looks again.
EVAL_PATIENCE = 15


def say_at_once(text: str) -> None:
    """Prints a line that is seen now, in a file too."""
    print(text, flush=True)


class Run:
    """One run of one stage.

    Making it opens the data, builds the task, loads the weights to start from and checks all that can be
    checked; nothing is trained and no file is written before that has succeeded.

    Args:
        config: What to do. `config.run.model_dir` must be set.
        flags: What the user typed, written to `flags.json`.
        say: Where lines for the user go.

    Raises:
        UserError: The run cannot be done, and why.

    Example:
        >>> result = Run(config).execute()
        >>> result["eval/label_top_1_accuracy"]
        0.98
    """

    def __init__(
        self, config: ExperimentConfig, flags: dict[str, Any] | None = None, say: Say = say_at_once
    ) -> None:
        if not config.run.model_dir:
            raise ConfigError("model_dir is not set; pass --model_dir=DIR, where the run writes its files.")
        keep_compiled_steps(config.run.compile_cache)
        if config.run.virtual_devices:
            split_cpu(config.run.virtual_devices)
        self.say = say
        self.flags = flags or {}
        strategy = make_strategy(config.run)
        self.exchange = WorkerExchange(strategy)
        with lost_worker_explained(self.exchange.workers, config.run.model_dir):
            self.prepared: PreparedRun = prepare(config, strategy)
            self.model_dir = ModelDir(config.run.model_dir, chief=self.prepared.chief)
            self.trainer = self._trainer()
            self.checkpoint = training_checkpoint(self.task, position=self.trainer.positions)
            if self.config.run.mode != "eval":
                self._check_start()
        self.evaluation = RunEvaluation(self.prepared, self.model_dir, say)

    @property
    def plan(self) -> RunPlan:
        """What the run will do."""
        return self.prepared.plan

    @property
    def config(self) -> ExperimentConfig:
        """The resolved config."""
        return self.prepared.config

    @property
    def task(self) -> Task:
        """The compiled task."""
        return self.prepared.task

    @property
    def step(self) -> int:
        """Steps done."""
        return self.prepared.step

    def execute(self) -> Result:
        """Trains, evaluates or both, as `config.run.mode` says.

        Returns:
            The result, as in `result.json`.

        Raises:
            UserError: Too many images were unreadable, another program uses the directory, or there
                is nothing to evaluate.
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
        with run_lock(self.model_dir.path, self.prepared.chief):
            if self.prepared.chief:
                set_aside_damaged(self.model_dir.path, self.prepared.survey, self.say)
            # First, so that whoever finds the config finds them too.
            self.model_dir.write_class_names(self.plan.class_names)
            self.model_dir.write_config(self.config, self.flags)
            self.model_dir.write_json(VERSIONS_FILE, versions())
            if self.prepared.chief:
                write_hparams(self.model_dir.path, self.config)
            result = TrainingLoop(
                self.prepared, self.trainer, self.checkpoint, self.model_dir, self.exchange, self.say
            ).run()
            if self.config.run.mode == "train_then_eval":
                return {**result, **self._evaluate()}
            self.evaluation.report()
            return result

    def _trainer(self) -> Trainer:
        # Outside the scope, for its clock is the host's alone.
        performance = Performance(self.config.images_per_step, self.config.training.deterministic)
        strategy = self.prepared.strategy
        with strategy.scope():
            return Trainer(self.task, None, strategy, self.prepared.skipped, self.exchange, performance)

    def _check_start(self) -> None:
        """Checks the checkpoint to resume, or loads the weights to start from."""
        # Also keeps the chief from changing anything before the others have seen it.
        self.exchange.refuse_different("the checkpoint of step", max(self.prepared.survey.steps, default=-1))
        if self.prepared.survey.whole:
            refuse_foreign_checkpoint(self.checkpoint, self.prepared.survey.whole)
        elif self.config.run.checkpoint:
            with self.prepared.strategy.scope():
                names = self.plan.train_source.class_names
                self.say(str(load_weights(self.task.network, self.config.run.checkpoint, self.config, names)))
        if self.prepared.service:
            self.prepared.service.wait(self.config.run.cluster_timeout)

    def _evaluate(self) -> Result:
        return self.evaluation.evaluate()

    def _follow_checkpoints(self) -> Result:
        """Evaluates checkpoints as they appear, until the one of the last step."""
        if not tf.io.gfile.isdir(self.model_dir.path):
            raise CheckpointError(
                f"model_dir is {self.model_dir.path!r}, which does not exist; "
                "name the directory of a training."
            )
        result: Result = {}
        for prefix in new_checkpoints(self.model_dir.path, EVAL_PATIENCE):
            refuse_foreign_checkpoint(self.checkpoint, prefix)
            self.model_dir.refuse_other_classes(self.plan.sources)  # They may be newer than the plan.
            with self.prepared.strategy.scope():
                self.checkpoint.restore(prefix).assert_consumed()
            result = self._evaluate()
            if self.step >= self.plan.steps:
                break
        if not result:
            raise CheckpointError(
                f"there is no checkpoint in model_dir {self.model_dir.path!r}, and none came within "
                f"{EVAL_PATIENCE} s; start its training first."
            )
        return result
