"""A run that is ready to start: its data is open, its task is built, and nothing is on disk yet."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import ServiceClient, SkippedImages
from tf_simclrv2.distribution.device_errors import cures_of_building, device_errors_explained
from tf_simclrv2.distribution.strategy import input_workers, is_chief
from tf_simclrv2.optimization import build_optimizer
from tf_simclrv2.precision import set_tf32
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.tasks import Task, build_task
from tf_simclrv2.tasks.distillation import no_teacher
from tf_simclrv2.training.batches import StageBatches
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.training_images import training_images
from tf_simclrv2.training.model_dir.verified_checkpoints import Survey, survey_checkpoints
from tf_simclrv2.training.plan import RunPlan, plan_run
from tf_simclrv2.training.teacher import LoadedTeacher, load_teacher


@dataclasses.dataclass(frozen=True)
class PreparedRun:
    """What a run works with.

    Attributes:
        plan: What it will do.
        strategy: What it computes on.
        task: The compiled task, made in the strategy's scope.
        skipped: Counts its unreadable images.
        service: Makes its examples; None makes them in this process.
        batches: Its training batches.
        survey: The checkpoints in its model_dir; none where it only evaluates.
    """

    plan: RunPlan
    strategy: tf.distribute.Strategy
    task: Task
    skipped: SkippedImages
    service: ServiceClient | None
    batches: StageBatches
    survey: Survey

    @property
    def config(self) -> ExperimentConfig:
        """The resolved config."""
        return self.plan.config

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.task.global_step.numpy())

    @property
    def chief(self) -> bool:
        """Whether this worker writes files."""
        return is_chief(self.strategy)

    @property
    def chiefs_strategy(self) -> tf.distribute.Strategy | None:
        """What the chief computes on by itself; None in a cluster, where collectives wait for the others."""
        return self.strategy if input_workers(self.strategy) == 1 else None


def prepare(
    config: ExperimentConfig, strategy: tf.distribute.Strategy, say: Say = say_at_once
) -> PreparedRun:
    """Prepares a run, for training and for the doctor alike. Writes no file.

    Args:
        config: As asked for. Without a `model_dir` nothing is compared with an earlier run.
        strategy: What to compute on.
        say: Receives a line now and then if something takes long; prints it by default.

    Returns:
        The prepared run. Its weights are as initialized.

    Raises:
        RunError: The network does not fit into the device's memory.
        UserError: The data, the teacher or the settings cannot be used together, or the model_dir holds
            another run, other classes, a run on other images, or no checkpoint that is whole.
    """
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    set_tf32(config.training.tf32)
    keras.utils.set_random_seed(config.training.seed)
    model_dir = ModelDir(config.run.model_dir, chief=False) if config.run.model_dir else None
    recorded = model_dir and model_dir.classes()
    with phase("loading the teacher", say):
        # An evaluation asks it for its classes at most, and it may no longer be there.
        unused = config.run.mode == "eval" and recorded
        teacher = None if unused else _load_teacher(config, strategy)
    with phase(f"reading the images of {config.data.data_dir or config.data.dataset}", say):
        plan = plan_run(
            config,
            strategy.num_replicas_in_sync,
            teacher and teacher.classes,
            recorded,
            model_dir.trained_images() if model_dir and config.run.mode == "eval" else 0,
        )
    if teacher and teacher.doubt:
        plan = dataclasses.replace(plan, notes=(*plan.notes, f"teacher: {teacher.doubt}"))
    survey = Survey((), None, {})
    if model_dir is not None:
        if config.run.mode != "eval":
            model_dir.refuse_best()
        model_dir.refuse_other_run(plan.config)
        model_dir.refuse_other_classes(plan.sources)
        if config.run.mode != "eval":
            with phase("checking the newest checkpoint", say):
                survey = survey_checkpoints(model_dir.path)
            plan = _resumed(model_dir, plan)
    config = plan.config
    cures = cures_of_building(config.model)
    with phase("building the network", say), device_errors_explained(cures), strategy.scope():
        task = build_task(config, teacher.predict if teacher else no_teacher)
        task.compile(build_optimizer(config.optimizer, plan.schedule))
    skipped = SkippedImages(plan.train_source.num_examples, config.data.max_skipped_fraction)
    service = ServiceClient.of(config.data)
    batches = StageBatches(plan, skipped, service)
    return PreparedRun(plan, strategy, task, skipped, service, batches, survey)


def _resumed(model_dir: ModelDir, plan: RunPlan) -> RunPlan:
    """Returns the plan with what its run began from, and a line about what has changed since the last start.

    Raises:
        DataError: The images are others.
    """
    images = training_images(plan.train_source, plan.labeled_source, plan.learned_source)
    other_images = model_dir.refuse_other_images(images, plan.config.run.allow_other_data)
    config, unused = model_dir.with_start(plan.config)
    found = [*model_dir.free_changes(plan.config), *unused, *other_images]
    line = [f"changed since the last start: {'; '.join(found)}"] if found else []
    return dataclasses.replace(plan, config=config, notes=(*plan.notes, *line))


def _load_teacher(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> LoadedTeacher | None:
    if config.training.train_mode != "distill":
        return None
    with strategy.scope():
        return load_teacher(str(config.distillation.teacher), config.training.precision)
