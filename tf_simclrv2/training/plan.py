"""A run's plan, resolved before it starts: its data, length, checkpoints and complete config."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Source, check_same_classes, label_subset, load_source, require_labels
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.frozen_protocols import probed_endpoints
from tf_simclrv2.optimization.schedules import WarmupCosine, scaled_learning_rate, total_steps
from tf_simclrv2.weights.classes import Classes


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Attributes:
        config: With the number of classes filled in.
        train_source: Training images.
        labelled_source: Distillation's labeled images; None if it uses none.
        eval_source: Evaluation images; None if the run only trains and draws no nearest-neighbor curve.
        steps: Steps of the whole run.
        checkpoint_interval: Steps between checkpoints.
        schedule: The learning rate.
        notes: Lines for the user.
        class_names: Of the network's classifier, by label; () without a classifier or if unknown.
    """

    config: ExperimentConfig
    train_source: Source
    labelled_source: Source | None
    eval_source: Source | None
    steps: int
    checkpoint_interval: int
    schedule: WarmupCosine
    notes: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    @property
    def sources(self) -> list[Source]:
        """Returns all sources that the run reads."""
        sources = (self.train_source, self.labelled_source, self.eval_source)
        return [source for source in sources if source is not None]

    @property
    def neighbors_are_known(self) -> bool:
        """Whether training and evaluation images have the labels that nearest neighbors vote with."""
        return bool(self.eval_source and self.eval_source.has_labels and self.train_source.has_labels)

    def describe(self) -> str:
        """Describes the resolved run in a few lines."""
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
                else ", unlabeled"
            ),
            f"{', '.join(kinds)} at {model.image_size} px, {model.num_used_head_layers} projection layer(s), "
            f"{training.precision}",
            f"{self.steps:,} steps of batch {training.train_batch_size}, a checkpoint after the first "
            f"loop and every {self.checkpoint_interval:,} steps",
            f"{optimizer.optimizer}, learning rate {rate:.6g} after {self.schedule.warmup_steps:,} steps of "
            f"warm-up, weight decay {optimizer.weight_decay:g}",
        ]
        summaries = {source.name: source.summary for source in self.sources if source.summary}
        lines += [f"{name}: {summary}" for name, summary in summaries.items()]
        if self.labelled_source is not None:
            lines.append(
                f"{self.config.labelled_batch_size} labeled images of {self.labelled_source.name} per step, "
                f"used by the supervised term only (weight {1.0 - self.config.distillation.distill_alpha:g})"
            )
        if self.config.evaluation.knn_epochs and not self.neighbors_are_known:
            lines.append("nearest neighbors during training are off: both splits need labels")
        return "\n".join([*lines, *self.notes])


def plan_run(
    config: ExperimentConfig,
    replicas: int,
    teacher: Classes | None = None,
    recorded: Classes | None = None,
) -> RunPlan:
    """Opens the data and resolves everything that follows from it.

    Args:
        config: As asked for.
        replicas: Replicas in sync.
        teacher: Classes of a distillation's teacher.
        recorded: Classes of the checkpoints in the model_dir, if any. They are adopted here;
            `ModelDir.refuse_other_classes` checks the data against them.

    Returns:
        The plan.

    Raises:
        DataError: The data is missing, lacks the labels that the stage needs or has other classes than
            the teacher.
        ConfigError: A batch cannot be divided among the replicas, or is larger than the data.
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
    train_source, labelled_source, eval_source = _sources(config)
    if eval_source is not None:
        for source in filter(None, (train_source, labelled_source)):
            check_same_classes(source, eval_source)
    _refuse_unlabelled(config, train_source, labelled_source)
    classes = _classes(config, [train_source, labelled_source, eval_source], teacher, recorded)
    notes = _notes(config, train_source, recorded or teacher)
    config = _with_classes(config, classes.count)
    _refuse_unreachable_batch(config, train_source)
    if labelled_source is not None:
        _refuse_uneven_labelled_batch(config, replicas)
        config = _with_labelled_batch(config)
    probed_endpoints(config.evaluation, config.model)
    steps = total_steps(config.training, train_source.num_examples)
    interval = config.run.checkpoint_steps or max(
        config.run.checkpoint_epochs * train_source.num_examples // config.training.train_batch_size, 1
    )
    schedule = WarmupCosine.from_config_values(config.optimizer, config.training, train_source.num_examples)
    return RunPlan(
        config,
        train_source,
        labelled_source,
        eval_source,
        steps,
        interval,
        schedule,
        notes,
        classes.names or (),
    )


def _sources(config: ExperimentConfig) -> tuple[Source, Source | None, Source | None]:
    """Images to train on, distillation's labelled ones, and those to evaluate on."""
    mode, data = config.training.train_mode, config.data
    labelled_data = data.labelled if mode == "distill" else data
    train, labelled, evaluation = load_source(data, data.train_split), None, None
    if mode in ("finetune", "supervised"):
        train = label_subset(train, data)
    elif config.labelled_batch_size:
        labelled = label_subset(load_source(labelled_data, data.labelled_split), data)
    if config.run.mode != "train" or config.evaluation.knn_epochs:
        evaluation = load_source(labelled_data, data.eval_split)
    if labelled_data != data:
        train = _with_labels_like(train, labelled or evaluation)
    return train, labelled, evaluation


def _with_labels_like(train: Source, other: Source | None) -> Source:
    """Images of a dataset of their own; evaluation alone looks at their labels, where they mean the same."""
    same = other is not None and other.class_names == train.class_names
    return train if same else dataclasses.replace(train, class_names=())


def _with_labelled_batch(config: ExperimentConfig) -> ExperimentConfig:
    distillation = dataclasses.replace(config.distillation, labelled_batch_size=config.labelled_batch_size)
    return dataclasses.replace(config, distillation=distillation)


def _refuse_uneven_labelled_batch(config: ExperimentConfig, replicas: int) -> None:
    """Each replica, and each of its micro-batches, takes the same number of labelled images."""
    training = config.training
    parts = training.train_batch_size // (training.microbatch_size or training.train_batch_size)
    batch, shares = config.labelled_batch_size, parts * replicas
    if batch % shares:
        raise ConfigError(
            f"labelled_batch_size is {batch}, which {replicas} replica(s) with {parts} micro-batch(es) each "
            f"cannot share evenly; use {max(batch // shares, 1) * shares} or another multiple of {shares}."
        )


def _refuse_unlabelled(config: ExperimentConfig, train: Source, labelled: Source | None) -> None:
    """Training needs labels in some stages; an evaluation looks at what there is."""
    if config.run.mode == "eval":
        return
    mode = config.training.train_mode
    if mode in ("finetune", "supervised"):
        require_labels(train, f"--train_mode={mode}")
    if labelled is not None:
        require_labels(labelled, "distill_alpha below 1")


def _classes(
    config: ExperimentConfig,
    sources: list[Source | None],
    teacher: Classes | None,
    recorded: Classes | None,
) -> Classes:
    """What the network's classifier tells apart: what it did before, what its teacher does, or its data's."""
    train, labelled, _ = sources
    assert train is not None
    if teacher is not None:
        for source in filter(None, sources):
            teacher.refuse_other(source.name, source.class_names)
        if recorded is not None:
            teacher.refuse_other(recorded.owner, recorded.names or ())
    if recorded is not None:
        return recorded
    if teacher is not None:
        # Where the teacher's are not known, the student goes by the labels that it learns from.
        names = teacher.names or (labelled.class_names if labelled is not None else None)
        return dataclasses.replace(teacher, names=names)
    classify = config.training.train_mode != "pretrain" or config.training.lineareval_while_pretraining
    names = (labelled or train).class_names if classify else ()
    return Classes("this run", "", len(names), "", names)


def _notes(config: ExperimentConfig, train: Source, before: Classes | None) -> tuple[str, ...]:
    notes = [before.doubt] if before is not None and before.doubt else []
    if config.training.train_mode == "pretrain" and not train.has_labels:
        why = f" of a class ({train.no_class_label})" if train.no_class_label else ""
        notes.append(f"{train.name} has no labels{why}: linear evaluation is off")
    return tuple(notes)


def _with_classes(config: ExperimentConfig, classes: int) -> ExperimentConfig:
    truncate = config.training.train_mode != "pretrain"
    model = dataclasses.replace(config.model, num_classes=classes, truncate_proj_head=truncate)
    return dataclasses.replace(config, model=model)


def _refuse_unreachable_batch(config: ExperimentConfig, source: Source) -> None:
    if config.training.train_mode == "pretrain" and config.training.train_batch_size > source.num_examples:
        raise ConfigError(
            f"train_batch_size is {config.training.train_batch_size}, but {source.name} has only "
            f"{source.num_examples} images, so an image would be its own negative; use a smaller batch."
        )
