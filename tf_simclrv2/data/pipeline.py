"""Input pipelines: endless shuffled batches for training, padded finite ones for evaluation.

A training stream is a function of the seed. The `key` of an example is its position in the
endless stream of epochs, and all of its randomness follows from (seed, key), so a stream that is
started at a later key continues as if it had never stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.augmentation import contained, evaluation_view, finetune_view, view
from tf_simclrv2.data.execution import execution_options, in_parallel, run_ahead
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.data.seeds import example_seeds, stream_number
from tf_simclrv2.data.service_client import ServiceClient
from tf_simclrv2.data.shards import Shards
from tf_simclrv2.data.share import Share
from tf_simclrv2.data.shuffle import shuffled
from tf_simclrv2.data.skipped_images import SkippedImages
from tf_simclrv2.data.source import Record, Source, require_labels
from tf_simclrv2.data.tolerant_decoding import decoded_then, or_else

_LAST = tf.int64.max
WHOLE = Share()


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """Describes a stream of training batches.

    Attributes:
        image_size: Side of the images, in pixels.
        batch_size: Global batch size, over all replicas.
        seed: Seed of the order and the augmentation; 0 by default.
        labeled_batch_size: Global batch size of distillation's labeled images; 0 (the default) uses
            `batch_size`.
        share: Rows of each batch to make; all by default.
        skipped: Collects unreadable images; None (the default) uses a new collector with the limit of the
            data's config.
        service: Decodes and augments, with the same result; None (the default) does so in this process.
    """

    image_size: int
    batch_size: int
    seed: int = 0
    labeled_batch_size: int = 0
    share: Share = WHOLE
    skipped: SkippedImages | None = None
    service: ServiceClient | None = None

    def counting_skipped(self, source: Source, config: DataConfig) -> BatchOptions:
        """Returns options that collect unreadable images of a source, if these do not yet."""
        if self.skipped is not None:
            return self
        skipped = SkippedImages(source.num_examples, config.max_skipped_fraction)
        return dataclasses.replace(self, skipped=skipped)

    def for_labeled(self, labeled: Source) -> BatchOptions:
        """Returns options for distillation's labeled images; unreadable ones have their own limit."""
        return dataclasses.replace(
            self,
            batch_size=self.labeled_batch_size or self.batch_size,
            skipped=self.skipped and self.skipped.beside(labeled.num_examples),
        )


def pretraining_batches(
    source: Source, config: DataConfig, options: BatchOptions, start: int = 0
) -> tf.data.Dataset:
    """Makes endless batches of two views of each image (SimCLR, arXiv 2002.05709, section 2.1).

    Every epoch visits every image once, in a new order. Unreadable images are skipped: their keys are
    missing, so a run resumes from the last key that it saw, plus one.

    Args:
        source: The images.
        config: Augmentation, caching, and the tolerated fraction of unreadable images.
        options: Size of the views, batch size and seed.
        start: First key to deliver; 0 by default.

    Returns:
        {"view_1", "view_2": float32 [batch, size, size, 3] in [0, 1], not blurred;
        "label": int64 [batch], -1 if unlabeled; "key": int64 [batch]}.

    Example:
        >>> source = load_source(DataConfig(dataset="digits"), "train")
        >>> options = BatchOptions(image_size=32, batch_size=64)
        >>> batches = pretraining_batches(source, DataConfig(dataset="digits"), options)
        >>> next(iter(batches))["view_1"].shape
        TensorShape([64, 32, 32, 3])
    """

    def seeds(name: str, example: Record) -> tf.Tensor:
        return example_seeds(options.seed, example["key"], name)

    def two_views(example: Record) -> Record:
        views = {
            name: view(example["image"], options.image_size, config, seeds(name, example))
            for name in ("view_1", "view_2")
        }
        return views | {"label": example["label"], "key": example["key"]}

    return _training_batches(source, config, two_views, options, start)


def finetuning_batches(
    source: Source, config: DataConfig, options: BatchOptions, start: int = 0
) -> tf.data.Dataset:
    """Makes endless batches of labeled images, cropped and flipped. Arguments as in `pretraining_batches`.

    Returns:
        {"image": float32 [batch, size, size, 3] in [0, 1], "label": int64 [batch],
        "key": int64 [batch]}.

    Raises:
        DataError: The source has no labels.
    """
    require_labels(source, "fine-tuning")
    return _training_batches(source, config, _cropping(config, options, "finetune"), options, start)


def distillation_batches(
    source: Source,
    labeled: Source | None,
    config: DataConfig,
    options: BatchOptions,
    start: int = 0,
    labeled_start: int = 0,
) -> tf.data.Dataset:
    """Makes endless batches of images to distill on, cropped and flipped.

    Args:
        source: The images; their labels are not used.
        labeled: Images whose labels are learned too, in a separate stream; None for none.
        config: As in `pretraining_batches`.
        options: Size of the images, both batches and the seed.
        start: First key to deliver.
        labeled_start: First key of the labeled images to deliver.

    Returns:
        {"image": float32 [batch, size, size, 3] in [0, 1], "key": int64 [batch]}; with labeled images also
        "labeled_image", "label" and "labeled_key", `options.labeled_batch_size` of each.

    Raises:
        DataError: `labeled` has no labels.
    """
    options = options.counting_skipped(source, config)
    crop = _cropping(config, options, "distill")
    images = _training_batches(source, config, crop, options, start).map(_without("label"))
    if labeled is None:
        return images
    require_labels(labeled, "distillation with distill_alpha below 1")
    few = options.for_labeled(labeled)
    # Both streams may be of the same images, which must not come in the same order.
    order = stream_number(options.seed, "labeled")
    labeled_images = _training_batches(
        labeled, config, _cropping(config, few, "finetune"), few, labeled_start, order
    )

    def join(batch: Record, few: Record) -> Record:
        named = {"labeled_image": few["image"], "label": few["label"], "labeled_key": few["key"]}
        return batch | named

    return tf.data.Dataset.zip(images, labeled_images).map(join).with_options(execution_options())


def evaluation_batches(
    source: Source,
    *,
    image_size: int,
    batch_size: int,
    skipped: SkippedImages | None = None,
    share: Share = WHOLE,
    steps: int = 0,
    keep_unreadable: bool = False,
) -> tf.data.Dataset:
    """Makes batches that contain every readable image once, in the source's order; the last one is padded.

    All workers make the same number of batches, however many images are unreadable.

    Args:
        source: The images.
        image_size: Side in pixels.
        batch_size: Global batch size, over all replicas.
        skipped: Collects unreadable images; None (the default) uses a new collector with the default limit.
        share: Which rows of each batch to make; all by default.
        steps: Number of global batches after which to stop; 0 (the default) uses the whole source.
        keep_unreadable: If True, an unreadable image keeps its row, as a black image with mask False, so that
            rows are records of the source. If False (the default), it has no row.

    Returns:
        {"image": float32 [batch, size, size, 3] in [0, 1], "label": int64 [batch], "mask": bool
        [batch]}; also "path", string [batch], if the source is named, and "thumbnail", float32
        [batch, s, s, 4], of the whole image in its original proportions, if it has a `thumbnail_size` s.
        Padding is zeros with label -1, mask False and an empty name.
    """
    if skipped is None:
        skipped = SkippedImages(source.num_examples)

    def whole_view(example: Record) -> Record:
        image = evaluation_view(example["image"], image_size)
        row = {"image": image, "label": example["label"], "mask": tf.constant(True)}
        if source.thumbnail_size:
            row["thumbnail"] = contained(example["image"], source.thumbnail_size)
        return row

    prepare = decoded_then(whole_view, source.read, source.background)
    batches = num_evaluation_batches(source, batch_size, steps)
    examples = in_parallel(share.of(source.records, batch_size), prepare)
    rows = _marked(examples, source.named) if keep_unreadable else _readable(examples, skipped, source.named)
    rows = rows.concatenate(_fillers(image_size, source)).take(batches * share.rows(batch_size))
    return run_ahead(rows.batch(share.batch_size(batch_size), drop_remainder=True))


def num_evaluation_batches(source: Source, batch_size: int, steps: int = 0) -> int:
    """Returns how many batches `evaluation_batches` makes; arguments as there."""
    batches = -(-source.num_examples // batch_size)
    return min(batches, steps) if steps else batches


def _fillers(image_size: int, source: Source) -> tf.data.Dataset:
    """Endless rows that count for nothing."""
    row = {
        "image": tf.zeros([image_size, image_size, 3]),
        "label": tf.constant(UNLABELED, tf.int64),
        "mask": tf.constant(False),
    }
    if source.thumbnail_size:
        row["thumbnail"] = tf.zeros([source.thumbnail_size, source.thumbnail_size, 4])
    if source.named:
        row["path"] = tf.constant("")
    return tf.data.Dataset.from_tensors(row).repeat()


def _without(*names: str) -> Callable[[Record], Record]:
    return lambda row: {name: value for name, value in row.items() if name not in names}


def _cropping(config: DataConfig, options: BatchOptions, purpose: str) -> Callable[[Record], Record]:
    def one_view(example: Record) -> Record:
        seeds = example_seeds(options.seed, example["key"], purpose)
        image = finetune_view(example["image"], options.image_size, config, seeds)
        return {"image": image, "label": example["label"], "key": example["key"]}

    return one_view


def _training_batches(
    source: Source,
    config: DataConfig,
    augment: Callable[[Record], Record],
    options: BatchOptions,
    start: int,
    order: int | None = None,
) -> tf.data.Dataset:
    """Endless batches of examples, decoded and augmented; `order` is the seed of theirs if it has its own."""
    options = options.counting_skipped(source, config)
    assert options.skipped is not None
    batch_size, share = options.batch_size, options.share
    records, read = source.records, source.read
    if config.cache_dataset:
        records, read = _cached(source)
    # Paths, and what is in memory anyway, are shuffled as a whole; else the buffer is as published.
    buffer = min((50 if options.image_size <= 32 else 10) * batch_size, source.num_examples)
    if source.light or config.cache_dataset:
        buffer = source.num_examples
    shards = source.shards if buffer < source.num_examples else None
    order = options.seed if order is None else order
    stream = _endless_stream(records, source.num_examples, buffer, order, start, shards)
    compute = options.service.examples if options.service else in_parallel
    prepare = decoded_then(augment, read, source.background)
    examples = compute(share.of(stream, batch_size), prepare)
    rows = _readable(examples, options.skipped, source.named)
    return run_ahead(rows.batch(share.batch_size(batch_size), drop_remainder=True))


def _endless_stream(
    records: tf.data.Dataset,
    num_examples: int,
    buffer_size: int,
    seed: int,
    start: int,
    shards: Shards | None = None,
) -> tf.data.Dataset:
    """Epoch after epoch of shuffled records, each with its `key`, from key `start` on."""
    first_epoch, position = divmod(start, num_examples)

    def rest_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        begin = tf.where(epoch == first_epoch, tf.constant(position, tf.int64), 0)
        keys = tf.data.Dataset.range(epoch * num_examples + begin, (epoch + 1) * num_examples)
        if shards:
            return tf.data.Dataset.zip(keys, shards.epoch(epoch, begin, seed, buffer_size))
        return tf.data.Dataset.zip(keys, shuffled(records, buffer_size, seed, epoch).skip(begin))

    stream = tf.data.Dataset.range(first_epoch, _LAST).flat_map(rest_of_epoch)
    return stream.map(lambda key, record: record | {"key": key})


def _cached(source: Source) -> tuple[tf.data.Dataset, Callable[[Record], tf.Tensor]]:
    """Records that hold the encoded images in memory, and how to read them."""

    def with_contents(record: Record) -> Record:
        contents = or_else(source.read, record, tf.constant(b""))  # Nothing is never readable.
        return {"path": record["path"], "label": record["label"], "contents": contents}

    return in_parallel(source.records, with_contents).cache(), _read_contents


def _read_contents(record: Record) -> tf.Tensor:
    return record["contents"]


def _marked(examples: tf.data.Dataset, named: bool) -> tf.data.Dataset:
    """Leaves the examples that could not be decoded where they are, to count for nothing."""
    return examples.map(lambda row: {**row, "mask": row["readable"]}).map(_without_marks(named))


def _without_marks(named: bool) -> Callable[[Record], Record]:
    return _without(*([] if named else ["path"]), "readable")


def _readable(examples: tf.data.Dataset, skipped: SkippedImages, named: bool) -> tf.data.Dataset:
    """Leaves out, and records, the examples that could not be decoded."""

    def is_readable(example: Record) -> tf.Tensor:
        return tf.cond(
            example["readable"],
            lambda: True,
            lambda: tf.ensure_shape(tf.numpy_function(skipped.record, [example["path"]], tf.bool), []),
        )

    return examples.filter(is_readable).map(_without_marks(named))
