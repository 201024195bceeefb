"""Where images come from: a TFDS dataset, an image folder, or the built-in digits."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import math
import os
import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.data.digits import Digits
from tf_simclrv2.data.encoded_images import WHITE, Color
from tf_simclrv2.data.execution import execution_options
from tf_simclrv2.data.extent import Extent, extents_of
from tf_simclrv2.data.folder_walk import is_listed
from tf_simclrv2.data.image_folder import UNLABELED, ImageFiles, list_image_files
from tf_simclrv2.data.label_list import LabelList, is_list
from tf_simclrv2.data.labels_file import LabelsFile, named_twice
from tf_simclrv2.data.preparation import prepare_dataset
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.data.skipped_images import SkippedImages
from tf_simclrv2.data.tfds_features import ChosenFeatures, choose_features
from tf_simclrv2.errors import DataError

# Of ImageNet's images in TFDS.
FILE_NAME = "file_name"
CACHE_DIR = "~/.cache/tf_simclrv2"
REMOTE = r"\w+://"

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


def load_source(config: DataConfig, split: str, labels_for: str = "") -> Source:
    """Opens a split of a dataset.

    Args:
        config: Only `dataset`, `data_dir`, `image_key`, `label_key`, `labels_from`, `ignore_empty_classes`
            and `background` are used.
        split: A TFDS split expression, for example `train`, `train[:10%]` or `train+test`.
        labels_for: What needs labels, for the error that refuses a dataset without them before it is
            downloaded; "" (the default) accepts one.

    Returns:
        The source. The images themselves are read later.

    Raises:
        DataError: The dataset, the split or its files do not exist, hold no images, or lack labels that are
            needed; a feature cannot serve as what it is chosen for.

    Example:
        >>> source = load_source(DataConfig(dataset="digits"), "train")
        >>> source.name, source.num_examples, source.num_classes
        ('digits/train', 1437, 10)
    """
    if config.dataset == "image_folder":
        source = _folder_source(config, split, labels_for)
    elif config.dataset == "digits":
        builder = _digits_builder(config)
        source = _tfds_source(builder, _chosen(builder, config), config, split, labels_for)
    else:
        builder, chosen = _named_builder(config, labels_for)
        source = _tfds_source(builder, chosen, config, split, labels_for)
        source = dataclasses.replace(source, summary=chosen.summary)
    if labels_for:
        require_labels(source, labels_for)
    return dataclasses.replace(source, background=config.background_color)


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
        raise DataError(_no_labels(source.name, source.no_class_label, purpose))


def _no_labels(name: str, no_class_label: str, purpose: str) -> str:
    why, cure = "", "choose a labeled dataset, or put each class of an image folder into a subfolder"
    if no_class_label:
        why = f" of a class ({no_class_label})"
        cure = "store the label as a tfds.features.ClassLabel with names, or choose a dataset that has one"
    return f"{name} has no labels{why}, but {purpose} needs them; {cure}."


def absolute_path(path: str) -> str:
    """Returns the absolute form of a local path; those of other filesystems (`gs://`) as they are."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def name_in(folder: str, path: str) -> str:
    """Returns the name of a file in a folder; a path elsewhere stays absolute.

    Args:
        folder: The folder's absolute path.
        path: The file.
    """
    return absolute_path(path).removeprefix(f"{folder.rstrip('/')}/")


def _folder_source(config: DataConfig, split: str, labels_for: str) -> Source:
    folder = absolute_path(str(config.data_dir))
    files = list_image_files(config.data_dir, split, ignore_empty_classes=config.ignore_empty_classes)
    before = files
    if config.labels_from and is_list(config.labels_from):
        files = _listed(files, LabelList.read(config.labels_from), folder)
    elif config.labels_from:
        files = _relabeled(files, LabelsFile.read(config.labels_from), folder)
    if config.labels_from and files is before and labels_for:
        example = name_in(folder, files.paths[0])
        raise _names_none(config.labels_from, f"{config.data_dir}/{split}", example, labels_for)
    return source_of_files(f"{config.data_dir}/{split}", files, folder)


def _names_none(labels: str, split: str, example: str, purpose: str) -> DataError:
    """Learning from all labels of the split instead would be another experiment."""
    return DataError(
        f"labels_from is {labels!r}, which names none of the images of {split}, but {purpose} learns from "
        f"those that it names; name them as in {example!r}, or leave it out."
    )


def _listed(files: ImageFiles, chosen: LabelList, folder: str) -> ImageFiles:
    """The same files, of which only those in a list have their labels, if it names any of them."""
    if not files.class_names:
        raise DataError(
            f"labels_from is {chosen.path!r}, a list without labels, but the images have no class folders "
            "that provide them; pass a CSV file with the columns path and label."
        )
    labels = chosen.keep([name_in(folder, path) for path in files.paths], tuple(files.labels))
    if labels is None:
        return files
    count = sum(label != UNLABELED for label in labels)
    summary = f"{files.summary}; labels of {count:,} of the {len(chosen.names):,} images in {chosen.path}"
    return dataclasses.replace(files, labels=labels, summary=summary)


def _relabeled(files: ImageFiles, labels: LabelsFile, folder: str) -> ImageFiles:
    """The same files with the labels of a file, if it names any of them."""
    class_of: dict[str, str] = {}
    for typed, label in labels.class_of.items():
        name = name_in(folder, os.path.join(folder, typed))
        if name in class_of:  # In another spelling.
            raise named_twice(labels.path, name)
        class_of[name] = label
        if "://" not in folder and not os.path.isfile(os.path.join(folder, name)):
            raise DataError(
                f"{labels.path!r} names {name!r}, which is not in {folder!r}; write paths relative to that "
                "folder."
            )
    names = [name_in(folder, path) for path in files.paths]
    class_of = _by_listed_names(LabelsFile(labels.path, class_of), names, folder)
    numbered = LabelsFile(labels.path, class_of).number(names, files.class_names)
    if numbered is None:
        return files
    found, class_names = numbered
    count = sum(label != UNLABELED for label in found)
    summary = f"{files.summary}; {count:,} labels in {len(class_names)} classes from {labels.path}"
    if unread := [name for name in class_of if not is_listed(name)]:
        summary += f"; {len(unread):,} labels are of files that are not read, such as {unread[0]}"
    return dataclasses.replace(files, labels=found, class_names=class_names, summary=summary)


def _by_listed_names(labels: LabelsFile, names: Sequence[str], folder: str) -> dict[str, str]:
    """The classes by the names under which images are listed: through links, others lead to them as well."""
    if "://" in folder:
        return labels.class_of
    real_folder, listed = os.path.realpath(folder), set(names)

    def real(name: str) -> str:
        return os.path.realpath(os.path.join(folder, name))

    others = {
        name: real(name)
        for name in labels.class_of
        if name not in listed and (os.path.isabs(name) or real(name) != os.path.join(real_folder, name))
    }
    listed_as = {real(name): name for name in names} if others else {}
    class_of: dict[str, str] = {}
    for typed, label in labels.class_of.items():
        name = listed_as.get(others.get(typed, ""), typed)
        if name in class_of:
            raise named_twice(labels.path, name)
        class_of[name] = label
    return class_of


def source_of_files(name: str, files: ImageFiles, folder: str) -> Source:
    """Returns the source of image files.

    Args:
        name: For messages.
        files: The files, in the order of the records.
        folder: The folder that they lie in; "" if they lie anywhere.
    """
    return Source(
        name=name,
        summary=files.summary,
        names_hash=files.names_hash,
        extents=files.extents,
        folder=folder and absolute_path(folder),
        num_examples=len(files.paths),
        class_names=files.class_names,
        records=tf.data.Dataset.from_tensor_slices(
            {"path": tf.constant(files.paths), "label": tf.constant(files.labels, tf.int64)}
        ),
        read=_reading(files.paths),
        light=True,
    )


def _reading(paths: Sequence[str | bytes]) -> Callable[[Record], tf.Tensor]:
    """Reads files from where this process was started: a data service may be started anywhere."""
    if all(re.match(f"/|{REMOTE}", os.fsdecode(path)) for path in paths):
        return lambda record: tf.io.read_file(record["path"])
    here = os.path.join(os.getcwd(), "")

    def read(record: Record) -> tf.Tensor:
        path = record["path"]
        is_remote = tf.strings.regex_full_match(path, f"{REMOTE}.*")
        is_absolute = is_remote | (tf.strings.substr(path, 0, 1) == "/")
        return tf.io.read_file(tf.where(is_absolute, path, here + path))

    return read


def _read_image(record: Record) -> tf.Tensor:
    return record["image"]


def counted_name(dataset: str, split: str, index: int | str) -> str:
    """Returns the name of an image of a TFDS split, by its place in the split."""
    return f"{dataset}/{split} #{index}"


def _refuse_unknown_names(
    labels: LabelsFile, builder: tfds.core.DatasetBuilder, dataset: str, split: str, count: int
) -> None:
    """Refuses labels of images that a dataset does not have.

    Args:
        labels: The labels.
        builder: The dataset.
        dataset: How images call it.
        split: The split, or a slice of one, whose examples have been counted.
        count: How many they are.
    """
    for name in labels.class_of:
        place, _, index = name.rpartition(" #")
        named = place.removeprefix(f"{dataset}/")
        base = re.match(r"\w*", named)
        known = place != named and base and base[0] in builder.info.splits and index.isdecimal()
        if not known or (named == split and int(index) >= count):
            example = counted_name(dataset, split, 0)
            raise DataError(
                f"{labels.path!r} names {name!r}, which {dataset} does not have; names are like {example!r}."
            )


def _tfds_source(
    builder: tfds.core.DatasetBuilder, chosen: ChosenFeatures, config: DataConfig, split: str, labels_for: str
) -> Source:
    name = config.dataset
    extents = _extents(builder, name, split)
    features = builder.info.features.items()
    images = [key for key, feature in features if isinstance(feature, tfds.features.Image)]
    decoders = {key: tfds.decode.SkipDecoding() for key in images}
    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        # File after file: a record's index is then its place in a slice of the split.
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )

    num_examples = int(examples.cardinality())
    if num_examples == 0:
        raise DataError(f"The split {split!r} of {name} selects no images; choose a larger slice.")
    class_names, numbered = chosen.class_names, None
    listed = _listed_names(builder, config)
    if config.labels_from and listed is None:
        names = [counted_name(name, split, index) for index in range(num_examples)]
        chosen_labels = LabelsFile.read(config.labels_from)
        _refuse_unknown_names(chosen_labels, builder, name, split, num_examples)
        numbered = chosen_labels.number(names, class_names)
        if numbered is None and labels_for:
            raise _names_none(config.labels_from, f"{name}/{split}", names[0], labels_for)
    if numbered is not None:
        class_names = numbered[1]
    table = None if numbered is None else tf.constant(numbered[0], tf.int64)

    def record(index: tf.Tensor, example: Record) -> Record:
        label = example[chosen.label_key] if chosen.label_key else UNLABELED
        label = tf.cast(label, tf.int64) if table is None else tf.gather(table, index)
        if listed is not None:
            label = tf.where(listed.lookup(example[FILE_NAME]) > 0, label, UNLABELED)
        path = tf.strings.join([counted_name(name, split, ""), tf.strings.as_string(index)])
        return {"path": path, "image": example[chosen.image_key], "label": label}

    return Source(
        name=f"{name}/{split}",
        num_examples=num_examples,
        class_names=class_names,
        records=examples.enumerate().map(record).with_options(execution_options()),
        read=_read_image,
        light=False,
        no_class_label=chosen.no_class_label,
        shards=_shards(builder, split, decoders, record),
        extents=extents,
    )


def _listed_names(builder: tfds.core.DatasetBuilder, config: DataConfig) -> tf.lookup.StaticHashTable | None:
    """The names in a list without labels; None if `labels_from` is not one."""
    path = config.labels_from
    if path is None or not is_list(path):
        return None
    if FILE_NAME not in builder.info.features:
        raise DataError(
            f"labels_from is {path!r}, a list of file names, but {config.dataset} has no feature "
            f"{FILE_NAME}; pass a CSV file with the columns path and label."
        )
    return LabelList.read(path).table()


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
    data_dir = config.data_dir or os.path.expanduser(CACHE_DIR)
    # Quiet: a second's work is not worth TFDS's progress bars.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return prepare_dataset(lambda: Digits(data_dir=data_dir))
        except OSError as error:
            raise DataError(
                f"The digits could not be written to {data_dir!r} ({error}); set --data_dir to a "
                "writable directory."
            ) from error


def _chosen(builder: tfds.core.DatasetBuilder, config: DataConfig) -> ChosenFeatures:
    return choose_features(builder, config.dataset, config.image_key, config.label_key)


def _named_builder(config: DataConfig, labels_for: str) -> tuple[tfds.core.DatasetBuilder, ChosenFeatures]:
    """The prepared dataset; whatever can be refused is refused before a download rather than after it."""
    try:
        builder = tfds.builder(config.dataset, data_dir=config.data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise DataError(_unknown_dataset(config.dataset)) from error
    except (ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"The dataset {config.dataset!r} cannot be opened; check its config and version: {reason}"
        ) from error
    chosen = _chosen(builder, config)
    if labels_for and not (chosen.label_key or config.labels_from):
        raise DataError(_no_labels(config.dataset, chosen.no_class_label, labels_for))
    try:
        return prepare_dataset(lambda: tfds.builder(config.dataset, data_dir=config.data_dir)), chosen
    except Exception as error:  # The network, the disk, a manual download: TFDS has no common type.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"Dataset {config.dataset!r} is not in {builder.data_path.parent.parent} and could not be "
            f"downloaded and prepared ({reason}); prepare it with the tfds program, or set --data_dir "
            "(--labeled_data_dir for labeled images) to the TFDS directory that has it."
        ) from error


def _unknown_dataset(name: str) -> str:
    known = {"digits", "image_folder", *tfds.list_builders(with_community_datasets=False)}
    close = difflib.get_close_matches(name.split("/")[0].split(":")[0], sorted(known), n=3)
    cure = f"did you mean {' or '.join(close)}?" if close else "use a TFDS name, image_folder or digits."
    return f"The dataset {name!r} is unknown; {cure}"


def _extents(builder: tfds.core.DatasetBuilder, name: str, split: str) -> tuple[Extent, ...]:
    """The images that a split chooses; refuses one that does not exist or chooses none."""
    splits = builder.info.splits
    if not splits:  # TFDS learns the splits from a prepared dataset; a mocked one accepts all.
        return ()
    available = ", ".join(f"{key} ({info.num_examples} images)" for key, info in splits.items())
    try:
        extents = extents_of(split, splits)
    except (ValueError, KeyError) as error:
        raise DataError(
            f"The split {split!r} of {name} cannot be read; choose from {available}, or a slice of one."
        ) from error
    if any(extent.start >= extent.stop for extent in extents):
        raise DataError(
            f"The split {split!r} of {name} selects no images; choose a larger slice of {available}."
        )
    return tuple(
        dataclasses.replace(extent, split=os.path.join(builder.data_path, extent.split)) for extent in extents
    )
