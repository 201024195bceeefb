"""Features of a whole split: the start of every evaluation on frozen features."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Share, SkippedImages, Source, evaluation_batches, num_evaluation_batches
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.evaluation.features import Batch, FeatureExtractor, Features
from tf_simclrv2.progress import Progress, Say


@contextlib.contextmanager
def split_batches(
    source: Source, config: ExperimentConfig, strategy: tf.distribute.Strategy | None = None
) -> Iterator[Iterable[Batch]]:
    """Opens a split for reading, every image once and in the order of the source.

    Args:
        source: The images.
        config: Holds the image size, `eval_batch_size` and `max_skipped_fraction`. A batch is not larger
            than the split, but for what its replicas need to have equal parts.
        strategy: What the batches are distributed over; by default over nothing.

    Yields:
        Batches as `evaluation_batches` makes them. Read them within the context.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.

    Example:
        >>> with split_batches(source, config) as batches:
        ...     first = next(iter(batches))["image"]
    """
    skipped = source.skipped or SkippedImages(source.num_examples, config.data.max_skipped_fraction)
    strategy = strategy or tf.distribute.get_strategy()
    with skipped.explained():
        yield strategy.distribute_datasets_from_function(
            lambda context: evaluation_batches(
                source,
                image_size=config.model.image_size,
                batch_size=_batch_size(source, config, strategy),
                skipped=skipped,
                share=Share.of_context(context),
            )
        )


def split_features(
    extract: FeatureExtractor,
    source: Source,
    config: ExperimentConfig,
    say: Say | None = None,
    title: str | None = None,
    on_batch: Callable[[Batch], None] | None = None,
) -> tuple[Features, np.ndarray]:
    """Extracts the features of every readable image of a split.

    Args:
        extract: The network's endpoints.
        source: The images.
        config: See `split_batches`.
        say: Reports the progress; None reports nothing.
        title: What the progress is called; `features of <split>` by default.
        on_batch: Called with each batch before its features are extracted.

    Returns:
        An array [examples, width] for each endpoint, as `FeatureExtractor` gives it, and int64 labels
        [examples], -1 where there is none.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.
        RunError: There is no room for the features.

    Example:
        >>> features, labels = split_features(FeatureExtractor(network, ["final_avg_pool"]), source, config)
    """
    with contextlib.ExitStack() as stack:
        batch_size = _batch_size(source, config, extract.strategy)
        progress = None
        if say is not None:
            what, total = title or f"features of {source.name}", num_evaluation_batches(source, batch_size)
            progress = stack.enter_context(
                Progress(f"{what}, batch", total, say, unit="images", per_item=batch_size)
            )
        batches = stack.enter_context(split_batches(source, config, extract.strategy))

        def visited() -> Iterator[Batch]:
            for batch in batches:
                if on_batch is not None:
                    on_batch(batch)
                yield batch
                if progress is not None:
                    progress.advance()

        return extract(visited(), source.num_examples)


def labeled_rows(features: Features, labels: np.ndarray) -> tuple[Features, np.ndarray]:
    """Drops the images without a label, which some TFDS splits have.

    Args:
        features: [examples, width] for each endpoint.
        labels: int [examples]; negative where there is no label.

    Returns:
        Features and labels of the other images, possibly of none.
    """
    rows = labels != UNLABELED
    if rows.all():  # Spares a copy.
        return features, labels
    return {name: feature[rows] for name, feature in features.items()}, labels[rows]


def _batch_size(source: Source, config: ExperimentConfig, strategy: tf.distribute.Strategy) -> int:
    replicas = strategy.num_replicas_in_sync
    return min(config.evaluation.eval_batch_size, -(-source.num_examples // replicas) * replicas)
