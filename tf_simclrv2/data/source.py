"""A split of images: records in a fixed order, and how to read a record's image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.data.encoded_images import WHITE, Color
from tf_simclrv2.data.extent import Extent
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.data.skipped_images import SkippedImages
from tf_simclrv2.errors import DataError

Record = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Source:
    """A split of labeled or unlabeled images.

    Attributes:
        name: For messages, for example `digits/train`.
        num_examples: Records in `records`.
        class_names: Names of the classes in the order of their labels; () if unlabeled.
        records: In a fixed order, {"path": string [], a name for messages and files,
            "label": int64 [], -1 if unlabeled}, and what `read` needs.
        read: Turns a record into the encoded image, string [].
        light: Whether records hold no image, so that shuffling and skipping them costs nothing.
        no_class_label: For an unlabeled TFDS dataset: features that are not class labels, for messages.
        summary: What a folder holds, and which files in it were not taken; which features of a TFDS dataset
            are read; "" for the digits.
        background: Red, green and blue in [0, 1] on which transparent images are laid.
        names_hash: See `ImageFiles`; "" for other datasets. A subset of the labels keeps that of all images.
        folder: The absolute path of an image folder, in which the files lie; "" for other datasets.
        named: Whether batches hold each image's `path` too, which only a host can take.
        thumbnail_size: Side in pixels of each image's `thumbnail`, which batches for evaluation hold too; 0
            for none.
        skipped: Collects the images that evaluation cannot read; by default each reading has a counter of its
            own.
        shards: The same records in several files, mixed differently in every epoch of training; None if they
            are in one file or in memory.
        extents: Which images of the dataset these are chosen from; () if that is not known.

    Raises:
        ValueError: `shards` hold a number of records other than `num_examples`.
    """

    name: str
    num_examples: int
    class_names: tuple[str, ...]
    records: tf.data.Dataset
    read: Callable[[Record], tf.Tensor]
    light: bool
    no_class_label: str = ""
    summary: str = ""
    background: Color = WHITE
    names_hash: str = ""
    folder: str = ""
    named: bool = False
    thumbnail_size: int = 0
    skipped: SkippedImages | None = None
    shards: Shards | None = None
    extents: tuple[Extent, ...] = ()

    def __post_init__(self) -> None:
        if self.shards and self.shards.num_examples != self.num_examples:
            raise ValueError(
                f"{self.name} has {self.num_examples} records, but {self.shards.num_examples} in its shards."
            )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def has_labels(self) -> bool:
        return bool(self.class_names)

    def first(self, most: int) -> Source:
        """Returns a source of the first `most` records in the fixed order."""
        count = min(most, self.num_examples)
        return dataclasses.replace(self, records=self.records.take(count), num_examples=count, shards=None)

    def sample(self, most: int) -> Source:
        """Returns at most `most` records, at even distances, or the first ones if records hold images.

        The first ones of several splits would be all of one. TFDS has shuffled its files, and every image
        between two of a sample would be decoded and discarded.
        """
        if not self.light or most >= self.num_examples:
            return self.first(most)

        def is_drawn(i: tf.Tensor, _: Record) -> tf.Tensor:
            return (i + 1) * most // self.num_examples > i * most // self.num_examples

        records = self.records.enumerate().filter(is_drawn).map(lambda _, record: record)
        records = records.apply(tf.data.experimental.assert_cardinality(most))
        return dataclasses.replace(self, records=records, num_examples=most, shards=None)


def with_class_names(source: Source, class_names: tuple[str, ...]) -> Source:
    """Returns a labeled source whose labels count through other classes, its own among them.

    Args:
        source: The images.
        class_names: All of the source's class names, and perhaps more, in the order of the new labels.

    Raises:
        ValueError: A class of the source is not among them.
    """
    if class_names == source.class_names:
        return source
    # Unlabeled rows, -1, take the last entry.
    numbers = tf.constant([*map(class_names.index, source.class_names), UNLABELED], tf.int64)

    def renumber(record: Record) -> Record:
        row = tf.where(record["label"] < 0, tf.size(numbers, tf.int64) - 1, record["label"])
        return {**record, "label": tf.gather(numbers, row)}

    records = source.records.map(renumber)
    return dataclasses.replace(source, records=records, class_names=class_names, shards=None)


def check_same_classes(training: Source, evaluation: Source, labels_from: str | None = None) -> None:
    """Refuses two labeled sources whose labels mean different classes.

    Image folders number the classes that they hold, so one that lacks a class counts differently.

    Args:
        training: What is trained on.
        evaluation: What is measured on.
        labels_from: The file that labels the training images; None (the default) if their folders do.

    Raises:
        DataError: Both sources have labels, and their class names or their order differ.
    """
    if training.has_labels and evaluation.has_labels:
        refuse_other_class_names(
            training.name,
            training.class_names,
            evaluation.name,
            evaluation.class_names,
            f"correct the labels in {labels_from!r}"
            if labels_from
            else "give both the same class folders, with images in each",
        )


def require_labels(source: Source, purpose: str) -> None:
    """Refuses a source without labels.

    Args:
        source: The images.
        purpose: What needs the labels, for the message.

    Raises:
        DataError: It has no labels, and why.
    """
    if not source.has_labels:
        raise DataError(no_labels(source.name, source.no_class_label, purpose))


def no_labels(name: str, no_class_label: str, purpose: str) -> str:
    """Returns the sentence about a source without labels; arguments as in `Source` and `require_labels`."""
    why, cure = "", "choose a labeled dataset, or put each class of an image folder into a subfolder"
    if no_class_label:
        why = f" of a class ({no_class_label})"
        cure = "store the label as a tfds.features.ClassLabel with names, or choose a dataset that has one"
    return f"{name} has no labels{why}, but {purpose} needs them; {cure}."


def names_none(labels_from: str, split: str, example: str, purpose: str) -> DataError:
    """Returns the error about a file of labels that names no image of a split.

    Learning from all labels of the split instead would be another experiment.

    Args:
        labels_from: The file.
        split: The split.
        example: How an image of it is named.
        purpose: What learns from the labels.
    """
    return DataError(
        f"labels_from is {labels_from!r}, which names none of the images of {split}, but {purpose} learns "
        f"from those that it names; name them as in {example!r}, or leave it out."
    )
