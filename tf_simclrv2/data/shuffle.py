"""The shuffle of training streams."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.data.seeds import stream_number


def shuffled(
    records: tf.data.Dataset, buffer_size: int, seed: int, number: tf.Tensor | int
) -> tf.data.Dataset:
    """Shuffles as `records.shuffle` does, but as a function of (seed, number) alone.

    `Dataset.shuffle` would mix in the global seed of `tf.random.set_seed`, so this calls its op.

    Args:
        records: Of any structure.
        buffer_size: Records to draw from at any time; with all of them, every order is equally likely.
        seed: The run's seed.
        number: int64 [], which of the run's orders.

    Example:
        >>> list(shuffled(tf.data.Dataset.range(4), 4, seed=0, number=0).as_numpy_iterator())
        [0, 3, 2, 1]
    """
    spec = records.element_spec
    variant = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=tf.constant(buffer_size, tf.int64),
        seed=tf.constant(stream_number(seed, "order"), tf.int64),
        seed2=tf.cast(number, tf.int64),
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        reshuffle_each_iteration=False,
        output_types=[leaf.dtype for leaf in tf.nest.flatten(spec)],
        output_shapes=[leaf.shape for leaf in tf.nest.flatten(spec)],
    )
    return tf.data.experimental.from_variant(variant, spec)
