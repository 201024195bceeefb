"""A few labels of every class: what semi-supervised learning starts from."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.image_folder import UNLABELLED
from tf_simclrv2.data.sources import Record, Source, require_labels
from tf_simclrv2.errors import DataError

# Bytes of records up to which a subset stays in memory: 1 % of ImageNet, but not 10 %.
KEPT_BYTES = 2**32


def label_subset(source: Source, config: DataConfig) -> Source:
    """Selects the part of a labeled source that a supervised stage may use.

    The draw depends on `label_seed` and the source's order alone, and takes the same number of every class:
    `labels_per_class`, or the share `label_fraction` of all images divided among the classes, at least one.

    The source is read for its labels, without decoding an image. A subset of up to 4 GiB is then read once
    more and kept in memory; for a larger one every epoch reads the whole source, unless `cache_dataset` is
    set.

    Args:
        source: Labeled images.
        config: How many labels, and the seed.

    Returns:
        A source of the chosen images in their old order; `source` itself where all labels may be used.

    Raises:
        DataError: The source has no labels, or a class has too few images.

    Example:
        >>> config = DataConfig(dataset="digits", label_fraction=0.05)
        >>> label_subset(load_source(config, "train"), config).num_examples
        70
    """
    if config.label_fraction == 1.0 and not config.labels_per_class:
        return source
    require_labels(source, "taking a part of the labels")
    share = round(config.label_fraction * source.num_examples / source.num_classes)
    per_class = config.labels_per_class or max(1, share)
    labels, sizes = _labels_and_sizes(source)
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
    )
    shards = source.shards.only(chosen) if source.shards else None
    if sizes[chosen].sum() <= KEPT_BYTES:
        records, shards = _kept_in_memory(records), None
    return dataclasses.replace(
        source,
        name=f"{source.name} ({per_class} labels per class)",
        num_examples=num_examples,
        records=records.apply(tf.data.experimental.assert_cardinality(num_examples)),
        shards=shards,
    )


def draw_per_class(labels: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    """Draws `per_class` rows of every class, without replacement.

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


def _kept_in_memory(records: tf.data.Dataset) -> tf.data.Dataset:
    """The same records from memory.

    Not `records.cache()`: an iterator that stops halfway (a look at the first views) and is closed late
    empties a cache under those that read it.
    """
    rows = list(records.as_numpy_iterator())
    columns = {
        name: tf.constant([row[name] for row in rows], spec.dtype)
        for name, spec in records.element_spec.items()
    }
    return tf.data.Dataset.from_tensor_slices(columns)


def _labels_and_sizes(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Label, and bytes in memory, of every record."""

    def label_and_size(record: Record) -> tuple[tf.Tensor, tf.Tensor]:
        strings = [value for value in record.values() if value.dtype == tf.string]
        return record["label"], tf.add_n([tf.strings.length(value) for value in strings])

    rows = np.array(list(source.records.map(label_and_size).as_numpy_iterator()), np.int64)
    return rows[:, 0], rows[:, 1]


def _refuse_small_classes(source: Source, labels: np.ndarray, per_class: int) -> None:
    counts = np.bincount(labels[labels != UNLABELLED], minlength=source.num_classes)
    smallest = int(np.argmin(counts))
    if counts[smallest] < per_class:
        cure = (
            f"ask for at most {counts[smallest]}, for example with --labels_per_class={counts[smallest]}"
            if counts[smallest]
            else "choose a split that has images of every class"
        )
        raise DataError(
            f"{per_class} labels per class are requested, but {source.name} has only {counts[smallest]} of "
            f"class {source.class_names[smallest]!r}; {cure}."
        )
