"""Whether a saved classifier may start another run: what it reads, what it tells apart, what it has seen.

Pretraining trains a linear classifier along, on all labels of its data. If fine-tuning with a few labels
began with it, most of its accuracy would come from labels that it is said not to have.
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
    """Labels that something was trained on.

    Attributes:
        source: The dataset, or the folder of images; the path of weights whose labels are not known.
        split: Split expression; None where the labels are not known.
        label_fraction: As in `DataConfig`.
        labels_per_class: As in `DataConfig`.
        label_seed: As in `DataConfig`; 0 where all labels are used.
    """

    source: str
    split: str | None = None
    label_fraction: float = 1.0
    labels_per_class: int = 0
    label_seed: int = 0

    @classmethod
    def of(cls, data: DataConfig, split: str, drawn: bool = True) -> SeenLabels:
        """Those of a split that a run may use, or all of them where it does not draw."""
        source = data.dataset
        if source == "image_folder":
            folder = str(data.data_dir)
            source = folder if "://" in folder else os.path.abspath(folder)
        if not drawn or (data.label_fraction == 1.0 and not data.labels_per_class):
            return cls(source, split)
        return cls(source, split, data.label_fraction, data.labels_per_class, data.label_seed)

    @property
    def are_all(self) -> bool:
        """Whether no label of the split is held back."""
        return self.split is not None and self.label_fraction == 1.0 and not self.labels_per_class

    def contain(self, other: SeenLabels) -> bool:
        """Whether all of the other's labels are known to be among these."""
        same_data = (self.source, self.split) == (other.source, other.split)
        return self == other or (same_data and self.are_all)

    def __str__(self) -> str:
        if self.split is None:
            return f"those of {self.source}, which are not known"
        where = f"{self.source}/{self.split}"
        if self.are_all:
            return f"all of {where}"
        per_class = f"{self.labels_per_class} a class"
        share = per_class if self.labels_per_class else f"{self.label_fraction:.4g} of all"
        return f"{share} of {where} (label_seed {self.label_seed})"


@dataclasses.dataclass(frozen=True)
class ClassifierOrigin:
    """Where a saved classifier comes from.

    Attributes:
        path: The weights.
        run: The run that trained it; None where that is not known.
        layers: The head layers that it may read; more than one in published weights that leave this open.
        class_names: What it tells apart; () where that is not known.
        published_stage: Of Google's weights, `pretrain`, `finetune`, or `unknown`; None of others.
    """

    path: str
    run: ExperimentConfig | None
    layers: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    published_stage: str | None = None

    def why_not_for(self, run: ExperimentConfig | None, class_names: Sequence[str] = ()) -> str:
        """Why the classifier does not belong into a run, in a few words; empty where it does.

        Args:
            run: The run that would start from it; None where nothing is known of it.
            class_names: Of that run's data, in the order of the labels.

        Raises:
            CheckpointError: A teacher's config is damaged.
        """
        if self.run is None and self.published_stage is None:
            return "of unknown origin: there is no config.json beside the checkpoint"
        if reason := self._trained_along():
            return reason
        if run is None:
            return "the run that would use it is not known"
        return (
            self._other_layer(run.model.classifier_layer)
            or self._other_names(tuple(class_names))
            or self._other_labels(run)
        )

    def _trained_along(self) -> str:
        if self.published_stage == "pretrain":
            return "was trained along with the labels of ImageNet in pretraining"
        if self.run is None or self.run.training.train_mode != "pretrain":
            return ""
        data = self.run.data
        return f"was trained along with the labels of {data.dataset}/{data.train_split} in pretraining"

    def _other_layer(self, layer: int) -> str:
        layers = ", ".join(map(str, self.layers))
        if len(self.layers) > 1:
            return (
                f"fits head layers {layers} alike, and nothing tells which one it was trained on; "
                "python -m export.convert --ft_proj_selector=N does"
            )
        return "" if layer in self.layers else f"reads head layer {layers} in the checkpoint, {layer} here"

    def _other_names(self, names: tuple[str, ...]) -> str:
        if self.published_stage is not None:  # They bring none; shapes tell the number.
            return ""
        if not self.class_names:
            return "its class names are not known: there is no labels.txt beside the checkpoint"
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
    """The first class name that differs between a checkpoint and the data of a run; empty where none does."""
    if tuple(there) == tuple(here):
        return ""
    label = first_differing_label(there, here)
    if label < min(len(there), len(here)):
        return f"class {label} is {there[label]!r} in the checkpoint, {here[label]!r} here"
    return f"tells {len(there)} classes apart, and there are {len(here)} here"


def labels_of(run: ExperimentConfig) -> tuple[SeenLabels, ...]:
    """The labels that a run learns from, those that its teacher has seen included.

    Args:
        run: The run.

    Returns:
        A draw of labels for each source of them.

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
    return (*inherited, SeenLabels.of(data.labelled, data.labelled_split))
