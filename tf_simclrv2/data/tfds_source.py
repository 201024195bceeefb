"""TFDS datasets as a source, the built-in digits among them."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import math
import os
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.digits import Digits
from tf_simclrv2.data.execution import execution_options
from tf_simclrv2.data.extent import Extent, extents_of
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.data.label_list import LabelList, is_list
from tf_simclrv2.data.labels_file import LabelsFile
from tf_simclrv2.data.preparation import prepare_dataset
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.data.source import Record, Source, names_none, no_labels
from tf_simclrv2.data.tfds_features import ChosenFeatures, choose_features
from tf_simclrv2.errors import DataError

# Of ImageNet's images in TFDS.
FILE_NAME = "file_name"
CACHE_DIR = "~/.cache/tf_simclrv2"

# Files are cut until there are enough parts, but into a few at most: reaching a part means reading past
# everything before it in its file.
ENOUGH_PARTS = 128
MOST_PARTS_OF_A_FILE = 8
READ_BYTES = 2**20


def tfds_source(config: DataConfig, split: str, labels_for: str = "") -> Source:
    """Opens a split of a TFDS dataset or of the digits; arguments and errors as those of `load_source`."""
    if config.dataset == "digits":
        builder = _digits_builder(config)
        return _source_of(builder, _chosen(builder, config), config, split, labels_for)
    builder, chosen = _named_builder(config, labels_for)
    source = _source_of(builder, chosen, config, split, labels_for)
    return dataclasses.replace(source, summary=chosen.summary)


def _source_of(
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
            raise names_none(config.labels_from, f"{name}/{split}", names[0], labels_for)
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
        read=lambda record: record["image"],
        light=False,
        no_class_label=chosen.no_class_label,
        shards=_shards(builder, split, decoders, record),
        extents=extents,
    )


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
        raise DataError(no_labels(config.dataset, chosen.no_class_label, labels_for))
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
