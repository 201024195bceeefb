"""A few labels of every class: what semi-supervised learning starts from."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.data.source import Record, Source, require_labels
from tf_simclrv2.errors import DataError

# Bytes of records up to which a subset stays in memory: 1 % of ImageNet, but not 10 %.
KEPT_BYTES = 2**32
# Of the classes that are too small, in a message.
CLASSES_SHOWN = 10


def label_subset(source: Source, config: DataConfig) -> Source:
    """Selects the part of a labeled source that a supervised stage may use.

    The draw depends on `label_seed` and the source's order alone, and takes the same number of every class:
    `labels_per_class`, or the share `label_fraction` of all images divided among the classes, at least one.
    With `labels_per_class_at_most`, a class that has fewer gives all that it has, and the source's summary
    names it. With `labels_from`, the images without a label are left out, also where all labels are used.

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
    takes_all = config.label_fraction == 1.0 and not config.labels_per_class
    if takes_all and not (config.labels_from and source.has_labels):
        return source
    require_labels(source, "taking a part of the labels")
    labels, sizes = _labels_and_sizes(source)
    if config.labels_from and not (labels != UNLABELED).any():
        raise DataError(
            f"labels_from is {config.labels_from!r}, which names none of the images of {source.name}; name "
            "some of them, or leave it out."
        )
    if takes_all:
        return _chosen(source, labels != UNLABELED, sizes)
    counted = (labels != UNLABELED).sum() if config.labels_from else source.num_examples
    share = round(config.label_fraction * counted / source.num_classes)
    per_class = config.labels_per_class or max(1, share)
    small = _small_classes(source, labels, per_class)
    if small and not config.labels_per_class_at_most:
        raise DataError(_too_few(source, small, per_class))
    labeled = np.flatnonzero(labels != UNLABELED)
    chosen = np.zeros(len(labels), bool)
    chosen[labeled[draw_per_class(labels[labeled], per_class, config.label_seed)]] = True
    up_to = "up to " if small else ""
    fewer = f"fewer than {per_class} labels of {_listed(small)}" if small else ""
    return dataclasses.replace(
        _chosen(source, chosen, sizes),
        name=f"{source.name} ({up_to}{per_class} labels per class)",
        summary="; ".join(filter(None, (source.summary, fewer))),
    )


def _chosen(source: Source, chosen: np.ndarray, sizes: np.ndarray) -> Source:
    """The records that are chosen, bool [N]; `sizes` are their bytes."""
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


def _small_classes(source: Source, labels: np.ndarray, per_class: int) -> dict[str, int]:
    """Images of each class that has fewer than asked for, the smallest class first."""
    counts = np.bincount(labels[labels != UNLABELED], minlength=source.num_classes)
    order = np.argsort(counts, kind="stable")
    return {source.class_names[label]: int(counts[label]) for label in order if counts[label] < per_class}


def _too_few(source: Source, small: dict[str, int], per_class: int) -> str:
    fewest = min(small.values())
    cures = ["use all that these have with --labels_per_class_at_most"]
    if fewest:
        cures.append(f"ask for at most {fewest}, for example with --labels_per_class={fewest}")
    else:
        cures.append("choose a split that has images of every class")
    return (
        f"{per_class} labels per class are requested, but {source.name} has fewer of {_listed(small)}; "
        f"{', or '.join(cures)}."
    )


def _listed(small: dict[str, int]) -> str:
    """For example `2 classes: fox (3), owl (5)`."""
    names = [f"{name} ({count})" for name, count in small.items()]
    more = f" and {len(names) - CLASSES_SHOWN} more" if len(names) > CLASSES_SHOWN else ""
    classes = f"{len(names)} classes" if len(names) > 1 else "1 class"
    return f"{classes}: {', '.join(names[:CLASSES_SHOWN])}{more}"
