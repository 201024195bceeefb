"""Decides whether a run may start from a saved classifier: its input layer, its classes, its labels.

Pretraining trains an online linear classifier on all labels of its data. If fine-tuning with few labels
started from it, most of the accuracy would come from labels that the experiment is not supposed to have.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from tf_simclrv2.config import DataConfig, ExperimentConfig
from tf_simclrv2.data.class_names import first_differing_label
from tf_simclrv2.weights.run_config import directory_of, read_config


@dataclasses.dataclass(frozen=True)
class SeenLabels:
    """The labels that a classifier was trained on.

    Attributes:
        source: The dataset or image folder; the path of the weights if their labels are not known.
        split: The split expression; None if the labels are not known.
        label_fraction: See `DataConfig`.
        labels_per_class: See `DataConfig`.
        label_seed: See `DataConfig`; 0 if all labels are used.
        at_most: `labels_per_class_at_most`; False if all labels are used.
    """

    source: str
    split: str | None = None
    label_fraction: float = 1.0
    labels_per_class: int = 0
    label_seed: int = 0
    at_most: bool = False

    @classmethod
    def of(cls, data: DataConfig, split: str, drawn: bool = True) -> SeenLabels:
        """Returns the labels of a split that a run draws, or all of them if `drawn` is False."""
        source = data.dataset
        if source == "image_folder":
            folder = str(data.data_dir)
            source = folder if "://" in folder else os.path.abspath(folder)
        elif data.label_key:
            source = f"{source} ({data.label_key})"
        if data.labels_from:
            source = f"{source} with the labels of {os.path.abspath(data.labels_from)}"
        if not drawn or (data.label_fraction == 1.0 and not data.labels_per_class):
            return cls(source, split)
        part = (data.label_fraction, data.labels_per_class, data.label_seed, data.labels_per_class_at_most)
        return cls(source, split, *part)

    @property
    def are_all(self) -> bool:
        """Whether all labels of the split are used."""
        return self.split is not None and self.label_fraction == 1.0 and not self.labels_per_class

    def contain(self, other: SeenLabels) -> bool:
        """Returns whether all of the other's labels are known to be among these."""
        same_data = (self.source, self.split) == (other.source, other.split)
        return self == other or (same_data and self.are_all)

    def __str__(self) -> str:
        if self.split is None:
            return f"those of {self.source}, which are not known"
        where = f"{self.source}/{self.split}"
        if self.are_all:
            return f"all of {where}"
        per_class = f"{'up to ' if self.at_most else ''}{self.labels_per_class} per class"
        share = per_class if self.labels_per_class else f"{self.label_fraction:.4g} of all"
        return f"{share} of {where} (label_seed {self.label_seed})"


@dataclasses.dataclass(frozen=True)
class ClassifierOrigin:
    """The origin of a saved classifier, and whether another run may use it.

    Attributes:
        path: The path of the weights.
        run: The run that trained it; None if that is not known.
        layers: The head layers that may be its input; several if published weights leave this open.
        class_names: Its classes by label; () if they are not known.
        published_stage: For Google's weights `pretrain`, `finetune` or `unknown`; None for others.
    """

    path: str
    run: ExperimentConfig | None
    layers: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    published_stage: str | None = None

    def why_not_for(self, run: ExperimentConfig | None, class_names: Sequence[str] = ()) -> str:
        """Returns why a run must not start from this classifier, in a few words; empty if it may.

        Args:
            run: The run that would start from it; None if it is not known.
            class_names: Class names of that run's data, by label.

        Raises:
            CheckpointError: The config of a teacher is damaged.
        """
        if self.run is None and self.published_stage is None:
            return "of unknown origin: there is no config.json next to the checkpoint"
        if reason := self._trained_online():
            return reason
        if run is None:
            return "the run that would use it is not known"
        return (
            self._other_layer(run.model.classifier_layer)
            or self._other_names(tuple(class_names))
            or self._other_labels(run)
        )

    def _trained_online(self) -> str:
        if self.published_stage == "pretrain":
            return "is the online classifier of pretraining, trained with the labels of ImageNet"
        if self.run is None or self.run.training.train_mode != "pretrain":
            return ""
        data = self.run.data
        labels = f"{data.dataset}/{data.train_split}"
        return f"is the online classifier of pretraining, trained with the labels of {labels}"

    def _other_layer(self, layer: int) -> str:
        layers = ", ".join(map(str, self.layers))
        if len(self.layers) > 1:
            return (
                f"fits head layers {layers}, and the checkpoint does not say which it was trained on; "
                "python -m export.convert --ft_proj_selector=N does"
            )
        return "" if layer in self.layers else f"reads head layer {layers} in the checkpoint, {layer} here"

    def _other_names(self, names: tuple[str, ...]) -> str:
        if self.published_stage is not None:  # They have no names; the shapes give the number.
            return ""
        if not self.class_names:
            return "its class names are not known: there is no labels.txt next to the checkpoint"
        return _first_difference(self.class_names, names)

    def _other_labels(self, run: ExperimentConfig) -> str:
        may = labels_of(run)
        if self.run is None:
            unknown = SeenLabels(self.path)
            fine = unknown in may or any(labels.are_all for labels in may)
            return "" if fine else f"saw labels that this run may not use: {unknown}"
        for seen in labels_of(self.run):
            if not any(labels.contain(seen) for labels in may):
                return f"saw labels that this run may not use: {seen}"
        return ""


def _first_difference(there: Sequence[str], here: Sequence[str]) -> str:
    """Describes the first class name that differs between a checkpoint and a run; empty if none does."""
    if tuple(there) == tuple(here):
        return ""
    label = first_differing_label(there, here)
    if label < min(len(there), len(here)):
        return f"class {label} is {there[label]!r} in the checkpoint, {here[label]!r} here"
    return f"has {len(there)} classes, and there are {len(here)} here"


def labels_of(run: ExperimentConfig) -> tuple[SeenLabels, ...]:
    """Returns the labels that a run learns from, including those that its teacher was trained on.

    Args:
        run: The run.

    Returns:
        The labels from each source.

    Raises:
        CheckpointError: The config of a teacher is damaged.
    """
    data = run.data
    if run.training.train_mode == "pretrain":
        return (SeenLabels.of(data, data.train_split, drawn=False),)
    if run.training.train_mode != "distill":
        return (SeenLabels.of(data, data.train_split),)
    teacher = str(run.distillation.teacher)
    taught = read_config(directory_of(teacher))
    inherited = (SeenLabels(teacher),) if taught is None else labels_of(taught)
    if run.distillation.distill_alpha == 1.0:
        return inherited
    return (*inherited, SeenLabels.of(data.labeled, data.labeled_split))
