"""A run worked out before it starts: its data, length, checkpoints, and a config with nothing left open."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.config import ConfigError, ExperimentConfig
from tf_simclrv2.data import Source, check_same_classes, label_subset, load_source
from tf_simclrv2.evaluation.frozen_protocols import probed_endpoints
from tf_simclrv2.optimization.schedules import WarmupCosine, scaled_learning_rate, total_steps


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Attributes:
        config: With the number of classes filled in.
        train_source: Training images.
        labelled_source: Distillation's labelled images; None without.
        eval_source: Evaluation images; None where the run only trains and looks at no neighbours.
        steps: Steps of the whole run.
        checkpoint_interval: Steps between checkpoints.
        schedule: The learning rate.
        notes: Lines to tell the user.
    """

    config: ExperimentConfig
    train_source: Source
    labelled_source: Source | None
    eval_source: Source | None
    steps: int
    checkpoint_interval: int
    schedule: WarmupCosine
    notes: tuple[str, ...]

    @property
    def neighbours_are_known(self) -> bool:
        """Whether training and evaluation images have the labels that nearest neighbours vote with."""
        return bool(self.eval_source and self.eval_source.has_labels and self.train_source.has_labels)

    def describe(self) -> str:
        """The resolved configuration, as a few lines."""
        model, training, optimizer = self.config.model, self.config.training, self.config.optimizer
        kinds = [f"ResNet-{model.resnet_depth} ({model.width_multiplier}x)"]
        kinds += ["selective kernels"] if model.sk_ratio else []
        kinds += ["squeeze-and-excitation"] if model.se_ratio else []
        rate = scaled_learning_rate(
            optimizer.learning_rate, optimizer.learning_rate_scaling, training.train_batch_size
        )
        lines = [
            f"{training.train_mode} on {self.train_source.name}: {self.train_source.num_examples:,} images"
            + (
                f" in {self.train_source.num_classes} classes"
                if self.train_source.has_labels
                else ", unlabelled"
            ),
            f"{', '.join(kinds)} at {model.image_size} px, {model.num_used_head_layers} projection layer(s), "
            f"{training.precision}",
            f"{self.steps:,} steps of batch {training.train_batch_size}, a checkpoint every "
            f"{self.checkpoint_interval:,}",
            f"{optimizer.optimizer}, learning rate {rate:.6g} after {self.schedule.warmup_steps:,} steps of "
            f"warm-up, weight decay {optimizer.weight_decay:g}",
        ]
        if self.config.evaluation.knn_epochs and not self.neighbours_are_known:
            lines.append("nearest neighbours while training are off: both splits need labels")
        return "\n".join([*lines, *self.notes])


def plan_run(config: ExperimentConfig, replicas: int, teacher_classes: int | None = None) -> RunPlan:
    """Opens the data and works out everything that follows from it.

    Args:
        config: As asked for.
        replicas: Replicas in sync.
        teacher_classes: Classes that the teacher of a distillation tells apart.

    Returns:
        The plan.

    Raises:
        ConfigError: The data is missing, lacks the labels that the stage needs or has other classes than
            the teacher, or a batch cannot be divided among the replicas.
    """
    for name, batch in (
        ("train_batch_size", config.training.train_batch_size),
        ("microbatch_size", config.training.microbatch_size),
        ("eval_batch_size", config.evaluation.eval_batch_size),
    ):
        if batch % replicas:
            raise ConfigError(
                f"{name} is {batch}, which {replicas} replicas cannot share evenly; "
                f"use {max(batch // replicas, 1) * replicas} or another multiple of {replicas}."
            )
    mode = config.training.train_mode
    train_source = load_source(config.data, config.data.train_split)
    labelled_source = None
    if mode in ("finetune", "supervised"):
        train_source = label_subset(train_source, config.data)
    elif mode == "distill" and config.distillation.distill_alpha < 1.0:
        labelled_source = label_subset(load_source(config.data, config.data.labelled_split), config.data)
    eval_source = None
    if config.run.mode != "train" or config.evaluation.knn_epochs:
        eval_source = load_source(config.data, config.data.eval_split)
        check_same_classes(train_source, eval_source)
    if teacher_classes is not None:
        _refuse_other_classes(teacher_classes, [train_source, labelled_source, eval_source])
    config, notes = _with_classes(config, train_source, teacher_classes)
    _refuse_unreachable_batch(config, train_source)
    if labelled_source is not None and config.training.microbatch_size % (2 * replicas):
        raise ConfigError(
            f"microbatch_size is {config.training.microbatch_size}, but half of it is labelled on each of "
            f"{replicas} replica(s) where distill_alpha is below 1; use a multiple of {2 * replicas}."
        )
    probed_endpoints(config.evaluation, config.model)
    steps = total_steps(config.training, train_source.num_examples)
    interval = config.run.checkpoint_steps or max(
        config.run.checkpoint_epochs * train_source.num_examples // config.training.train_batch_size, 1
    )
    schedule = WarmupCosine.from_config_values(config.optimizer, config.training, train_source.num_examples)
    return RunPlan(config, train_source, labelled_source, eval_source, steps, interval, schedule, notes)


def _refuse_other_classes(teacher_classes: int, sources: list[Source | None]) -> None:
    for source in sources:
        if source is not None and source.has_labels and source.num_classes != teacher_classes:
            raise ConfigError(
                f"the teacher tells {teacher_classes} classes apart, but {source.name} has "
                f"{source.num_classes}; use a teacher that was fine-tuned on the same classes."
            )


def _with_classes(
    config: ExperimentConfig, source: Source, teacher_classes: int | None
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    pretraining = config.training.train_mode == "pretrain"
    if not source.has_labels and not pretraining and teacher_classes is None:
        raise ConfigError(
            f"{source.name} has no labels, but --train_mode={config.training.train_mode} needs them; "
            "choose a labelled dataset, or put each class of an image folder into a sub-folder."
        )
    notes: tuple[str, ...] = ()
    classes = teacher_classes or source.num_classes
    if pretraining and not (source.has_labels and config.training.lineareval_while_pretraining):
        classes = 0
        if not source.has_labels:
            notes = (f"{source.name} has no labels: linear evaluation is off",)
    model = dataclasses.replace(config.model, num_classes=classes, truncate_proj_head=not pretraining)
    return dataclasses.replace(config, model=model), notes


def _refuse_unreachable_batch(config: ExperimentConfig, source: Source) -> None:
    if config.training.train_mode == "pretrain" and config.training.train_batch_size > source.num_examples:
        raise ConfigError(
            f"train_batch_size is {config.training.train_batch_size}, but {source.name} has only "
            f"{source.num_examples} images, so an image would be its own negative; use a smaller batch."
        )
