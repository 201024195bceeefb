"""Where images come from: a TFDS dataset, an image folder, or the built-in digits."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import math
import os
import textwrap
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.data.digits import Digits
from tf_simclrv2.data.encoded_images import WHITE, Color
from tf_simclrv2.data.image_folder import UNLABELLED, list_image_files
from tf_simclrv2.data.preparation import prepared
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.errors import DataError

# Most features that a message names as possible labels.
MOST_FEATURES = 3
CACHE_DIR = os.path.join("~", ".cache", "tf_simclrv2")

# Files are cut until there are enough parts, but into a few at most: reaching a part means reading past
# everything before it in its file.
ENOUGH_PARTS = 128
MOST_PARTS_OF_A_FILE = 8
READ_BYTES = 2**20

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
        summary: What a folder holds, and which files in it were not taken; "" for other datasets.
        background: Red, green and blue in [0, 1] on which transparent images are laid.
        shards: The same records in several files, mixed differently in every epoch of training; None if they
            are in one file or in memory.

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
    shards: Shards | None = None

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
        """Returns at most `most` records: every k-th one, or the first ones if records hold images.

        The first ones of a folder would be all of one class. TFDS has shuffled its files, and every image
        between two of a sample would be decoded and discarded.
        """
        if not self.light:
            return self.first(most)
        every = math.ceil(self.num_examples / most)
        count = math.ceil(self.num_examples / every)
        return dataclasses.replace(self, records=self.records.shard(every, 0), num_examples=count)


def load_source(config: DataConfig, split: str) -> Source:
    """Opens the split of a dataset.

    Args:
        config: Only `dataset`, `data_dir`, `ignore_empty_classes` and `background` are used.
        split: A TFDS split expression, for example `train`, `train[:10%]` or `train+test`.

    Returns:
        The source. The images themselves are read later.

    Raises:
        DataError: The dataset, the split or its files do not exist, or hold no images.

    Example:
        >>> source = load_source(DataConfig(dataset="digits"), "train")
        >>> source.name, source.num_examples, source.num_classes
        ('digits/train', 1437, 10)
    """
    if config.dataset == "image_folder":
        source = _folder_source(config, split)
    else:
        builder = _digits_builder(config) if config.dataset == "digits" else _named_builder(config)
        source = _tfds_source(builder, config.dataset, split)
    return dataclasses.replace(source, background=config.background_color)


def check_same_classes(training: Source, evaluation: Source) -> None:
    """Refuses two labeled sources whose labels mean different classes.

    Image folders number the classes that they hold, so one that lacks a class counts differently.

    Raises:
        DataError: Both sources have labels, and their class names or their order differ.
    """
    if training.has_labels and evaluation.has_labels:
        refuse_other_class_names(
            training.name,
            training.class_names,
            evaluation.name,
            evaluation.class_names,
            "give both the same class folders, with images in each",
        )


def require_labels(source: Source, purpose: str) -> None:
    """Refuses a source without labels.

    Args:
        source: The images.
        purpose: What needs the labels, for the message.

    Raises:
        DataError: It has no labels, and why.
    """
    if source.has_labels:
        return
    why, cure = "", "choose a labeled dataset, or put each class of an image folder into a sub-folder"
    if source.no_class_label:
        why = f" of a class ({source.no_class_label})"
        cure = "store the label as a tfds.features.ClassLabel with names, or choose a dataset that has one"
    raise DataError(f"{source.name} has no labels{why}, but {purpose} needs them; {cure}.")


def _folder_source(config: DataConfig, split: str) -> Source:
    files = list_image_files(config.data_dir, split, ignore_empty_classes=config.ignore_empty_classes)
    return Source(
        name=f"{config.data_dir}/{split}",
        summary=files.summary,
        num_examples=len(files.paths),
        class_names=files.class_names,
        records=tf.data.Dataset.from_tensor_slices(
            {"path": tf.constant(files.paths), "label": tf.constant(files.labels, tf.int64)}
        ),
        read=lambda record: tf.io.read_file(record["path"]),
        light=True,
    )


def _tfds_source(builder: tfds.core.DatasetBuilder, name: str, split: str) -> Source:
    _check_split(builder, name, split)
    image_key = _image_key(builder, name)
    label_key = _label_key(builder)
    decoders = {key: tfds.decode.SkipDecoding() for key in _feature_keys(builder, tfds.features.Image)}
    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        # File after file: a record's index is then its place in a slice of the split.
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )

    def record(index: tf.Tensor, example: Record) -> Record:
        label = tf.cast(example[label_key], tf.int64) if label_key else tf.constant(UNLABELLED, tf.int64)
        path = tf.strings.join([f"{name}/{split} #", tf.strings.as_string(index)])
        return {"path": path, "image": example[image_key], "label": label}

    num_examples = int(examples.cardinality())
    if num_examples == 0:
        raise DataError(f"The split {split!r} of {name} chooses no images; choose a larger slice.")
    return Source(
        name=f"{name}/{split}",
        num_examples=num_examples,
        class_names=tuple(builder.info.features[label_key].names) if label_key else (),
        records=examples.enumerate().map(record),
        read=lambda record: record["image"],
        light=False,
        no_class_label="" if label_key else _no_class_label(builder),
        shards=_shards(builder, split, decoders, record),
    )


def _shards(
    builder: tfds.core.DatasetBuilder,
    split: str,
    decoders: dict[str, tfds.decode.Decoder],
    record: Callable[[tf.Tensor, Record], Record],
) -> Shards | None:
    """The files of a split; `record` makes a record from its index in the split and its features."""
    if not builder.info.splits or builder.info.file_format not in (None, tfds.core.FileFormat.TFRECORD):
        return None
    files = builder.info.splits[split].file_instructions
    if len(files) < 2:
        return None
    cuts = min(MOST_PARTS_OF_A_FILE, math.ceil(ENOUGH_PARTS / len(files)))
    bounds = [[file.take * cut // cuts for cut in range(cuts + 1)] for file in files]
    lengths = np.diff(bounds).ravel()
    paths = tf.constant([os.fspath(file.filename) for file in files])
    begins = tf.constant(
        [file.skip + begin for file, cut in zip(files, bounds, strict=True) for begin in cut[:-1]], tf.int64
    )
    indices = tf.constant(np.cumsum(lengths) - lengths, tf.int64)
    takes = tf.constant(lengths, tf.int64)

    def read(part: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
        return (
            tf.data.TFRecordDataset(tf.gather(paths, part // cuts), buffer_size=READ_BYTES)
            .skip(tf.gather(begins, part) + skip)
            .take(tf.gather(takes, part) - skip)
            .map(lambda example: builder.info.features.deserialize_example(example, decoders=decoders))
            .enumerate(tf.gather(indices, part) + skip)
            .map(record)
        )

    return Shards(tuple(lengths.tolist()), read)


def _digits_builder(config: DataConfig) -> tfds.core.DatasetBuilder:
    data_dir = os.path.expanduser(config.data_dir or CACHE_DIR)
    # Quiet: a second's work is not worth TFDS's progress bars.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return prepared(lambda: Digits(data_dir=data_dir))
        except OSError as error:
            raise DataError(
                f"The digits could not be written to {data_dir!r} ({error}); set --data_dir to a "
                "directory that can be written to."
            ) from error


def _named_builder(config: DataConfig) -> tfds.core.DatasetBuilder:
    data_dir = os.path.expanduser(config.data_dir) if config.data_dir else None
    try:
        builder = tfds.builder(config.dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise DataError(_unknown_dataset(config.dataset)) from error
    except (ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"The dataset {config.dataset!r} cannot be opened; check its config and version: {reason}"
        ) from error
    _image_key(builder, config.dataset)  # Refused before a download rather than after it.
    try:
        return prepared(lambda: tfds.builder(config.dataset, data_dir=data_dir))
    except Exception as error:  # The network, the disk, a manual download: TFDS has no common type.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"Dataset {config.dataset!r} is not in {builder.data_path.parent.parent} and could not be "
            f"downloaded and prepared ({reason}); prepare it with the tfds program, or set --data_dir to "
            "the TFDS directory that has it."
        ) from error


def _unknown_dataset(name: str) -> str:
    known = {"digits", "image_folder", *tfds.list_builders(with_community_datasets=False)}
    close = difflib.get_close_matches(name.split("/")[0].split(":")[0], sorted(known), n=3)
    cure = f"did you mean {' or '.join(close)}?" if close else "use a TFDS name, image_folder or digits."
    return f"The dataset {name!r} is unknown; {cure}"


def _check_split(builder: tfds.core.DatasetBuilder, name: str, split: str) -> None:
    splits = builder.info.splits
    if not splits:  # TFDS learns the splits from a prepared dataset; a mocked one accepts all.
        return
    try:
        tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)
    except (ValueError, KeyError) as error:
        available = ", ".join(f"{key} ({info.num_examples} images)" for key, info in splits.items())
        raise DataError(
            f"The split {split!r} of {name} cannot be read; choose from {available}, or a slice of one."
        ) from error


def _image_key(builder: tfds.core.DatasetBuilder, name: str) -> str:
    features = builder.info.features
    key = _feature_key(builder, tfds.features.Image, preferred="image")
    if key is None:
        raise DataError(
            f"The dataset {name!r} has no images (its features are {', '.join(features)}); choose another."
        )
    if features[key].np_dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"The images of {name!r} are {features[key].np_dtype}, but only 8 and 16 bits are decoded; "
            "choose another dataset."
        )
    return key


def _label_key(builder: tfds.core.DatasetBuilder) -> str | None:
    """Returns the key of the class label; None if it does not exist, or if `label` is something else."""
    features = builder.info.features
    key = "label" if "label" in features else _feature_key(builder, tfds.features.ClassLabel, "label")
    return key if key and _is_class_label(features[key]) else None


def _is_class_label(feature: tfds.features.FeatureConnector) -> bool:
    return isinstance(feature, tfds.features.ClassLabel) and bool(feature.names)


def _no_class_label(builder: tfds.core.DatasetBuilder) -> str:
    """Which features might be meant as labels, and what they are instead; empty without any."""
    features = dict(builder.info.features.items())
    named = [key for key in features if "label" in key.lower()]
    images = _feature_keys(builder, tfds.features.Image)
    keys = ["label"] if "label" in features else named or [key for key in features if key not in images]
    return ", ".join(f"its feature {key!r} is {_type_of(features[key])}" for key in keys[:MOST_FEATURES])


def _type_of(feature: tfds.features.FeatureConnector) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return "a ClassLabel without names"  # Its `repr` fails.
    return textwrap.shorten(repr(feature), 80, placeholder=" ...")


def _feature_key(builder: tfds.core.DatasetBuilder, kind: type, preferred: str) -> str | None:
    """The key of the feature of this kind: the preferred one, else the first."""
    keys = _feature_keys(builder, kind)
    return preferred if preferred in keys else next(iter(keys), None)


def _feature_keys(builder: tfds.core.DatasetBuilder, kind: type) -> list[str]:
    return [key for key, feature in builder.info.features.items() if isinstance(feature, kind)]
