"""A run's plan, resolved before it starts: its data, length, checkpoints and complete config."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TypeVar

from tf_simclrv2.config import DataConfig, ExperimentConfig, TrainingConfig
from tf_simclrv2.data import Source, check_same_classes, label_subset, load_source
from tf_simclrv2.data.folder_walk import is_listed
from tf_simclrv2.data.source import with_class_names
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.frozen_protocols import probed_endpoints, refuse_many_pixels
from tf_simclrv2.optimization.schedules import WarmupCosine, scaled_learning_rate, total_steps
from tf_simclrv2.training.validation_split import (
    check_validation,
    labeled_part,
    measured_source,
    note_on_choice,
    note_on_training_images,
    source_if_there,
    validation_source,
)
from tf_simclrv2.weights.classes import Classes


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Attributes:
        config: With the number of classes filled in.
        train_source: Training images.
        labeled_source: Distillation's labeled images; None if it uses none.
        eval_source: Evaluation images; None if the run only trains and draws no nearest-neighbor curve.
        steps: Steps of the whole run.
        checkpoint_interval: Steps between checkpoints.
        schedule: The learning rate.
        notes: Lines for the user.
        class_names: Of the network's classifier, by label; () without a classifier or if unknown.
        validation_source: Images by which the best checkpoint is chosen; None if none is.
        trained_images: Images of an epoch, if they are not those of `train_source`: an evaluation may look
            at others than its run was trained on. 0 if they are.
    """

    config: ExperimentConfig
    train_source: Source
    labeled_source: Source | None
    eval_source: Source | None
    steps: int
    checkpoint_interval: int
    schedule: WarmupCosine
    notes: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    validation_source: Source | None = None
    trained_images: int = 0

    @property
    def sources(self) -> list[Source]:
        """Returns all sources that the run reads."""
        sources = (self.train_source, self.labeled_source, self.eval_source, self.validation_source)
        return [source for source in sources if source is not None]

    @property
    def fitted_source(self) -> Source:
        """Returns the images whose labels classifiers of features may learn: distillation's own, or all."""
        return self.labeled_source or labeled_part(self.train_source, self.config.data)

    @property
    def learned_source(self) -> Source | None:
        """Returns the images whose labels a file gives and the network learns; None if there are none."""
        if not self.config.data.labels_from or self.config.training.train_mode == "pretrain":
            return None
        return self.labeled_source if self.config.training.train_mode == "distill" else self.train_source

    @property
    def neighbors_are_known(self) -> bool:
        """Whether fitted and evaluation images have the labels that nearest neighbors vote with."""
        known = (self.labeled_source or self.train_source).has_labels
        return bool(self.eval_source and self.eval_source.has_labels and known)

    def describe(self) -> str:
        """Describes the resolved run in a few lines."""
        model, training, optimizer = self.config.model, self.config.training, self.config.optimizer
        kinds = [f"ResNet-{model.resnet_depth} ({model.width_multiplier}x)"]
        # Selective kernels need a bottleneck.
        has_kernels = model.resnet_depth >= 50
        kinds += ["selective kernels" if has_kernels else "ResNet-D's shortcuts"] if model.sk_ratio else []
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
        lines += [*self._summaries(), *self._choice()]
        if self.labeled_source is not None:
            lines.append(
                f"{self.config.labeled_batch_size} labeled images of {self.labeled_source.name} per step, "
                f"used by the supervised term only (weight {1.0 - self.config.distillation.distill_alpha:g})"
            )
        if self.config.evaluation.knn_epochs and not self.neighbors_are_known:
            lines.append("nearest neighbors during training are off: both splits need labels")
        return "\n".join([*lines, *self.notes])

    def epoch(self, step: int) -> float:
        """Returns how often the training images were seen after a step."""
        images = self.trained_images or self.train_source.num_examples
        return step * self.config.training.train_batch_size / images

    def _choice(self) -> list[str]:
        """How the best checkpoint is chosen, in a line."""
        if self.validation_source is None:
            return []
        images, name = self.validation_source.num_examples, self.validation_source.name
        line = f"best checkpoint: by {self.config.run.keep_best} on {images:,} images of {name}"
        patience = self.config.training.patience
        return [f"{line}; training stops after {patience} without a better one" if patience else line]

    def _summaries(self) -> list[str]:
        """What each source holds or was chosen from; in one line where it is the same of several."""
        names: dict[str, dict[str, None]] = {}
        for source in self.sources:
            if source.summary:
                names.setdefault(source.summary, {})[source.name] = None
        return [f"{' and '.join(of)}: {summary}" for summary, of in names.items()]


def plan_run(
    config: ExperimentConfig,
    replicas: int,
    teacher: Classes | None = None,
    recorded: Classes | None = None,
    trained_images: int = 0,
) -> RunPlan:
    """Opens the data and resolves everything that follows from it.

    Args:
        config: As asked for.
        replicas: Replicas in sync.
        teacher: Classes of a distillation's teacher.
        recorded: Classes of the checkpoints in the model_dir, if any. They are adopted here;
            `ModelDir.refuse_other_classes` checks the data against them.
        trained_images: Images of an epoch of the run that is evaluated; 0 (the default) if that is not known,
            or this is a training: those of `train_split`.

    Returns:
        The plan.

    Raises:
        DataError: The data is missing, lacks the labels that the stage needs or has other classes than
            the teacher.
        ConfigError: A batch cannot be divided among the replicas, or is larger than the data, there are too
            many raw pixels for features, or the model_dir is among the images.
    """
    refuse_uneven_batches(config, replicas)
    sources = train_source, labeled_source, eval_source, validation = _sources(config)
    _refuse_among_images(config.run.model_dir, sources)
    trained_on = [source for source in (train_source, labeled_source) if source is not None]
    for measured in filter(None, (eval_source, validation)):
        for source in trained_on:
            check_same_classes(source, measured, config.data.labels_from)
    if validation is not None:
        check_validation(config, _labeled_data(config), validation, trained_on, eval_source)
    classes = _classes(config, sources, teacher, recorded)
    notes = _notes(config, trained_on, eval_source, recorded or teacher)
    config = with_classes(config, classes.count)
    if config.run.mode != "eval":
        _refuse_unreachable_batch(config, train_source)
    if labeled_source is not None:
        config = _with_labeled_batch(config)
    probed_endpoints(config.evaluation, config.model)
    if eval_source is not None and config.run.mode != "train":
        refuse_many_pixels(config, labeled_source or train_source, eval_source)
    images = trained_images or train_source.num_examples
    steps = total_steps(config.training, images)
    interval = config.run.checkpoint_steps or max(
        config.run.checkpoint_epochs * images // config.training.train_batch_size, 1
    )
    schedule = WarmupCosine.from_config_values(config.optimizer, config.training, images)
    return RunPlan(
        config,
        train_source,
        labeled_source,
        eval_source,
        steps,
        interval,
        schedule,
        notes,
        classes.names or (),
        validation,
        trained_images,
    )


def refuse_uneven_batches(config: ExperimentConfig, replicas: int) -> None:
    """Checks that the replicas can share every batch.

    Raises:
        ConfigError: They cannot.
    """
    batches = {"eval_batch_size": config.evaluation.eval_batch_size}
    trains, training = config.run.mode != "eval", config.training
    if trains:
        batches["train_batch_size"] = training.train_batch_size
    for name, batch in batches.items():
        if batch % replicas:
            raise ConfigError(
                f"{name} is {batch}, which {replicas} replicas cannot share evenly; "
                f"use {max(batch // replicas, 1) * replicas} or another multiple of {replicas}."
            )
    if trains and training.microbatch_size % replicas:
        raise ConfigError(_uneven_parts(training, replicas))
    if trains and config.labeled_batch_size:
        _refuse_uneven_labeled_batch(config, replicas)


def _uneven_parts(training: TrainingConfig, replicas: int) -> str:
    """Parts have to divide the batch as well."""
    batch, part = training.train_batch_size, training.microbatch_size
    fitting = [size for size in range(replicas, batch + 1, replicas) if batch % size == 0]
    nearest = min(fitting, key=lambda size: abs(size - part))
    return (
        f"microbatch_size is {part}, which {replicas} replicas cannot share evenly; use {nearest} or another "
        f"multiple of {replicas} that divides train_batch_size {batch}."
    )


def _sources(config: ExperimentConfig) -> tuple[Source, Source | None, Source | None, Source | None]:
    """Images to train on, distillation's labeled ones, those to evaluate on, and those to choose by."""
    mode, data = config.training.train_mode, config.data
    labeled_data = _labeled_data(config)
    # An evaluation looks at what there is.
    supervised = mode in ("finetune", "supervised") and config.run.mode != "eval"
    # A file names labels of the labeled images only, where they are others.
    pool = data if labeled_data == data else dataclasses.replace(data, labels_from=None)
    train = load_source(pool, data.train_split, f"--train_mode={mode}" if supervised else "")
    labeled, evaluation = None, None
    if mode in ("finetune", "supervised"):
        train = _labeled_images(train, config)
    elif config.labeled_batch_size:
        purpose = "distill_alpha below 1" if config.run.mode != "eval" else ""
        labeled = _labeled_images(load_source(labeled_data, data.labeled_split, purpose), config)
    if config.run.mode != "train" or config.evaluation.knn_epochs:
        evaluation = measured_source(labeled_data, data.eval_split)
    validation = validation_source(config, labeled_data)
    measured = evaluation or validation
    if data.labels_from:
        # A run that only trains has the classes of one that evaluates too.
        named_by = measured or source_if_there(labeled_data, data.eval_split)
        train, labeled = (_with_classes_of(named_by, source) for source in (train, labeled))
    if labeled_data != data:
        train = _with_labels_like(train, labeled or measured)
    return train, labeled, evaluation, validation


def _labeled_images(source: Source, config: ExperimentConfig) -> Source:
    """What a stage learns from; of fewer images than it had, an evaluation takes what there is."""
    if config.run.mode != "eval":
        return label_subset(source, config.data)
    return label_subset(source, dataclasses.replace(config.data, labels_per_class_at_most=True))


def _refuse_among_images(model_dir: str, sources: Sequence[Source | None]) -> None:
    """A run's own pictures would become images, and its folder a class."""
    if not model_dir or "://" in model_dir:
        return
    place = os.path.realpath(model_dir)
    for source in sources:
        if source is None or not source.folder:
            continue
        for folder in {extent.split for extent in source.extents if "://" not in extent.split}:
            if place == folder or is_listed(f"{os.path.relpath(place, folder)}/image.png"):
                raise ConfigError(
                    f"model_dir is {model_dir!r}, which is among the pictures of {source.name}; choose a "
                    "folder outside of them."
                )


def _labeled_data(config: ExperimentConfig) -> DataConfig:
    """Where the labels come from that a network learns and is measured by."""
    return config.data.labeled if config.training.train_mode == "distill" else config.data


_Labeled = TypeVar("_Labeled", Source, None)


def _with_classes_of(measured: Source | None, source: _Labeled) -> _Labeled:
    """A few labels in a file may lack a class; the images to measure on then name all of them."""
    if source is None or measured is None or not set(source.class_names) <= set(measured.class_names):
        return source
    return with_class_names(source, measured.class_names) if source.has_labels else source


def _with_labels_like(train: Source, other: Source | None) -> Source:
    """Images of a dataset of their own; evaluation alone looks at their labels, where they mean the same."""
    same = other is not None and other.class_names == train.class_names
    return train if same else dataclasses.replace(train, class_names=())


def _with_labeled_batch(config: ExperimentConfig) -> ExperimentConfig:
    distillation = dataclasses.replace(config.distillation, labeled_batch_size=config.labeled_batch_size)
    return dataclasses.replace(config, distillation=distillation)


def _refuse_uneven_labeled_batch(config: ExperimentConfig, replicas: int) -> None:
    """Each replica, and each of its micro-batches, takes the same number of labeled images."""
    parts = config.training.parts
    batch, shares = config.labeled_batch_size, parts * replicas
    if batch % shares:
        raise ConfigError(
            f"labeled_batch_size is {batch}, which {replicas} replica(s) with {parts} micro-batch(es) each "
            f"cannot share evenly; use {max(batch // shares, 1) * shares} or another multiple of {shares}."
        )


def _classes(
    config: ExperimentConfig,
    sources: Sequence[Source | None],
    teacher: Classes | None,
    recorded: Classes | None,
) -> Classes:
    """The classes of the network's classifier: those from before, its teacher's, or its data's."""
    train, labeled, *_ = sources
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
        names = teacher.names or (labeled.class_names if labeled is not None else None)
        return dataclasses.replace(teacher, names=names)
    classify = config.training.train_mode != "pretrain" or config.training.lineareval_while_pretraining
    names = (labeled or train).class_names if classify else ()
    return Classes("this run", "", len(names), "", names)


def _notes(
    config: ExperimentConfig, trained_on: Sequence[Source], evaluation: Source | None, before: Classes | None
) -> tuple[str, ...]:
    train = trained_on[0]
    notes = [before.doubt] if before is not None and before.doubt else []
    if config.training.train_mode == "pretrain" and not train.has_labels:
        why = f" of a class ({train.no_class_label})" if train.no_class_label else ""
        notes.append(f"{train.name} has no labels{why}: linear evaluation is off")
    return (
        *notes,
        *(note for source in trained_on for note in note_on_training_images(source, evaluation)),
        *note_on_choice(config, _labeled_data(config), evaluation),
    )


def with_classes(config: ExperimentConfig, classes: int) -> ExperimentConfig:
    """Returns the config with what follows from the number of classes and the stage; 0 is no classifier."""
    truncate = config.training.train_mode != "pretrain"
    model = dataclasses.replace(config.model, num_classes=classes, truncate_proj_head=truncate)
    return dataclasses.replace(config, model=model)


def _refuse_unreachable_batch(config: ExperimentConfig, source: Source) -> None:
    if config.training.train_mode == "pretrain" and config.training.train_batch_size > source.num_examples:
        raise ConfigError(
            f"train_batch_size is {config.training.train_batch_size}, but {source.name} has only "
            f"{source.num_examples} images, so an image would be its own negative; use a smaller batch."
        )
