"""The images by which a run chooses its best checkpoint: neither trained on nor reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tf_simclrv2.config import DataConfig, ExperimentConfig
from tf_simclrv2.data import Source, label_subset, load_source, require_labels
from tf_simclrv2.data.extent import shared_images
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.errors import DataError

_CURE = (
    "hold out a part of the training images that nothing else uses, for example "
    '"--train_split=train[:90%]" "--validation_split=train[90%:]".'
)


def measured_source(data: DataConfig, split: str) -> Source:
    """Opens images to measure a network on, with all labels that their folders or the dataset give them."""
    source = load_source(dataclasses.replace(data, labels_from=None), split)
    return source if source.has_labels or not data.labels_from else load_source(data, split)


def labeled_part(source: Source, data: DataConfig) -> Source:
    """Returns the images of a source that have a label, of which a file of labels may leave few.

    Args:
        source: Training images.
        data: Where they come from.
    """
    if not data.labels_from or not source.has_labels:
        return source
    return label_subset(source, dataclasses.replace(data, label_fraction=1.0, labels_per_class=0))


def validation_source(config: ExperimentConfig, data: DataConfig) -> Source | None:
    """Opens the images that `keep_best` measures on.

    Args:
        config: The run.
        data: The dataset that it is evaluated on.

    Returns:
        At most `validation_images` images of `validation_split`; None if the run chooses no checkpoint.

    Raises:
        DataError: The split cannot be read, or none of these images has a label.
    """
    split = config.data.validation_split
    if config.run.mode == "eval" or config.run.keep_best == "none" or split is None:
        return None
    source = measured_source(data, split)
    require_labels(source, f"--keep_best={config.run.keep_best}")
    source = source.sample(config.evaluation.validation_images)
    labels = (int(record["label"]) for record in source.records.as_numpy_iterator())
    if all(label == UNLABELED for label in labels):
        raise DataError(
            f"no image of {source.name} has a label, but keep_best measures on them; choose another "
            "--validation_split."
        )
    return source


def check_validation(
    config: ExperimentConfig,
    data: DataConfig,
    validation: Source,
    trained_on: Sequence[Source],
    evaluation: Source | None,
) -> None:
    """Checks that a choice by the validation images means something.

    Args:
        config: The run.
        data: The dataset that it is evaluated on.
        validation: What `validation_source` opened.
        trained_on: The training images, then the labeled ones of a distillation.
        evaluation: The images to evaluate on; None if this run does not evaluate.

    Raises:
        DataError: The network is trained or reported on some of the images, or the training images lack the
            labels that the measure needs.
    """
    split, measure = config.data.validation_split, config.run.keep_best
    if measure != "online" or config.training.train_mode == "pretrain":
        require_labels(trained_on[-1], f"--keep_best={measure}")
    for source in trained_on:
        if shared := shared_images(validation.extents, source.extents):
            raise DataError(
                f"validation_split is {split!r}, but {shared:,} of these images are in {source.name} and are "
                f"trained on; {_CURE}"
            )
    reported = evaluation or source_if_there(data, config.data.eval_split)
    if reported and (shared := shared_images(validation.extents, reported.extents)):
        raise DataError(
            f"validation_split is {split!r}, but {shared:,} of these images are in eval_split "
            f"{config.data.eval_split!r}, whose accuracy is reported and would be "
            f"optimistically biased; {_CURE}"
        )


def note_on_training_images(train: Source, evaluation: Source | None) -> tuple[str, ...]:
    """Returns a line if a network is evaluated on images that it is, or was, trained on."""
    if evaluation is None or not evaluation.has_labels:
        return ()
    shared = shared_images(train.extents, evaluation.extents)
    what = f"{shared:,} of the {evaluation.num_examples:,} images of {evaluation.name} are in {train.name}"
    cure = 'hold some out, for example "--train_split=train[:80%]" "--eval_split=train[80%:]"'
    return (f"{what}, which is trained on, so accuracies say little about others; {cure}",) if shared else ()


def note_on_choice(config: ExperimentConfig, data: DataConfig, evaluation: Source | None) -> tuple[str, ...]:
    """Returns a line if an evaluation is on images that chose the best checkpoint of its run."""
    split = config.data.validation_split
    if config.run.mode != "eval" or split is None or evaluation is None:
        return ()
    chosen_by = source_if_there(data, split)
    shared = shared_images(chosen_by.extents, evaluation.extents) if chosen_by else 0
    what = f"{shared:,} of the images of {evaluation.name} are in validation_split {split!r}"
    return (f"{what}: the accuracy of a checkpoint chosen on them is too optimistic",) if shared else ()


def source_if_there(data: DataConfig, split: str) -> Source | None:
    """Images that a run names but does not read; None if they cannot be opened."""
    try:
        return measured_source(data, split)
    except DataError:
        return None
