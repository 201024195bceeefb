"""A few labels of every class: what semi-supervised learning starts from."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import ConfigError, DataConfig
from tf_simclrv2.data.image_folder import UNLABELLED
from tf_simclrv2.data.sources import Source


def label_subset(source: Source, config: DataConfig) -> Source:
    """The part of a labelled source that a supervised stage may use.

    The draw depends on `label_seed` and the source's order alone, and takes the same number of every class:
    `labels_per_class`, or the share `label_fraction` of all images divided among the classes, at least one.

    Args:
        source: Labelled images.
        config: How many labels, and the seed.

    Returns:
        A source of the chosen images in their old order; `source` itself where all labels may be used.

    Raises:
        ConfigError: There are no labels, or a class has fewer images than are asked for.

    Example:
        >>> config = DataConfig(dataset="digits", label_fraction=0.05)
        >>> label_subset(load_source(config, "train"), config).num_examples
        70
    """
    if config.label_fraction == 1.0 and not config.labels_per_class:
        return source
    if not source.has_labels:
        raise ConfigError(f"{source.name} has no labels to take a part of; choose a labelled dataset.")
    share = round(config.label_fraction * source.num_examples / source.num_classes)
    per_class = config.labels_per_class or max(1, share)
    labels = np.fromiter((record["label"] for record in source.records.as_numpy_iterator()), np.int64)
    _refuse_small_classes(source, labels, per_class)
    labelled = np.flatnonzero(labels != UNLABELLED)
    chosen = np.zeros(len(labels), bool)
    chosen[labelled[draw_per_class(labels[labelled], per_class, config.label_seed)]] = True
    num_examples = int(chosen.sum())
    table = tf.constant(chosen)
    records = (
        source.records.enumerate()
        .filter(lambda index, record: tf.gather(table, index))
        .map(lambda index, record: record)
        .cache()  # A subset is small: keeping it spares reading the whole dataset in every epoch.
    )
    return dataclasses.replace(
        source,
        name=f"{source.name} ({per_class} labels a class)",
        num_examples=num_examples,
        records=records.apply(tf.data.experimental.assert_cardinality(num_examples)),
    )


def draw_per_class(labels: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    """Indices of `per_class` rows of every class, drawn without replacement.

    Args:
        labels: int [N].
        per_class: Rows of each class; a class with fewer gives all it has.
        seed: Of the draw.

    Returns:
        Sorted int indices.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = [order[labels[order] == label][:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def _refuse_small_classes(source: Source, labels: np.ndarray, per_class: int) -> None:
    counts = np.bincount(labels[labels != UNLABELLED], minlength=source.num_classes)
    smallest = int(np.argmin(counts))
    if counts[smallest] < per_class:
        cure = (
            f"ask for at most {counts[smallest]}, for example with --labels_per_class={counts[smallest]}"
            if counts[smallest]
            else "choose a split that has images of every class"
        )
        raise ConfigError(
            f"{per_class} labels a class are asked for, but {source.name} has only {counts[smallest]} of "
            f"class {source.class_names[smallest]!r}; {cure}."
        )
