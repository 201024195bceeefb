"""The step of a run and the shapes of its batches, which follow from the config alone; no data is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.optimization import build_optimizer
from tf_simclrv2.optimization.schedules import WarmupCosine
from tf_simclrv2.tasks import Task, Teacher, build_task
from tf_simclrv2.training.trainer import Trainer
from tf_simclrv2.weights.loading import find_weights

# A schedule's length is a number in the program; any other gives the same program but for this number.
IMAGES = 1_281_167  # Of ImageNet.

Step = Callable[[dict[str, tf.Tensor]], object]


@dataclasses.dataclass(frozen=True)
class RunStep:
    """What a core runs, over and over.

    Attributes:
        task: The compiled task.
        step: Takes a core's batch.
        specs: Of such a batch, by name.
    """

    task: Task
    step: Step
    specs: dict[str, tf.TensorSpec]


def run_step(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> RunStep:
    """Builds the step of a run: of training, or of evaluating the classifier for `--mode=eval`.

    Of a distillation's teacher only the architecture matters; see `teacher_model`.

    Args:
        config: The run, with its number of classes.
        strategy: On which it would run.
    """
    training = config.training
    with strategy.scope():
        teacher = _teacher(config) if training.train_mode == "distill" else None
        task = build_task(config, teacher)
        schedule = WarmupCosine.from_config_values(config.optimizer, training, IMAGES)
        task.compile(build_optimizer(config.optimizer, schedule))
        trainer = Trainer(task, None, strategy)
    replicas = strategy.num_replicas_in_sync
    if config.run.mode == "eval":
        return RunStep(task, task.test_step, evaluation_specs(config, replicas))
    return RunStep(task, trainer.replica_step, training_specs(config, replicas))


def training_specs(config: ExperimentConfig, replicas: int) -> dict[str, tf.TensorSpec]:
    """Returns what a core's training batch holds."""
    n, labeled = config.training.train_batch_size // replicas, config.labeled_batch_size // replicas
    images, numbers = _images(config, n), tf.TensorSpec([n], tf.int64)
    if config.training.train_mode == "pretrain":
        return {"view_1": images, "view_2": images, "label": numbers, "key": numbers}
    if config.training.train_mode != "distill":
        return {"image": images, "label": numbers, "key": numbers}
    specs = {"image": images, "key": numbers}
    if labeled:
        few = tf.TensorSpec([labeled], tf.int64)
        specs |= {"labeled_image": _images(config, labeled), "label": few, "labeled_key": few}
    return specs


def evaluation_specs(config: ExperimentConfig, replicas: int) -> dict[str, tf.TensorSpec]:
    """Returns what a core's evaluation batch holds."""
    n = config.evaluation.eval_batch_size // replicas
    return {
        "image": _images(config, n),
        "label": tf.TensorSpec([n], tf.int64),
        "mask": tf.TensorSpec([n], tf.bool),
    }


def _images(config: ExperimentConfig, count: int) -> tf.TensorSpec:
    return tf.TensorSpec([count, config.model.image_size, config.model.image_size, 3], tf.float32)


def teacher_model(config: ExperimentConfig) -> tuple[ModelConfig, bool]:
    """Returns the architecture of a distillation's teacher, and whether it was read from `--teacher`.

    A teacher that is not here is taken to be a network like the student.
    """
    try:
        found = (
            find_weights(config.distillation.teacher, "teacher").model
            if config.distillation.teacher
            else None
        )
    except (CheckpointError, tf.errors.OpError):
        found = None
    if found is None:
        return config.model, False
    same = {"num_classes": config.model.num_classes, "image_size": config.model.image_size}
    return dataclasses.replace(found, **same), True


def _teacher(config: ExperimentConfig) -> Teacher:
    network = SimCLR(teacher_model(config)[0], name="teacher", dtype=config.training.precision)
    network.build((None, config.model.image_size, config.model.image_size, 3))
    return lambda images: network(images, training=False)["logits_sup"]
