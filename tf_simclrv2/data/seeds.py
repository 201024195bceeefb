"""Seeds of single examples: functions of the run's seed, the example's key and a purpose."""

from __future__ import annotations

import zlib

import tensorflow as tf


def example_seeds(seed: int, keys: tf.Tensor, purpose: str) -> tf.Tensor:
    """Makes a seed for each example, for the stateless random ops and `uniform_of_seeds`.

    The first of a seed's two numbers identifies the run and the purpose, the second the example. So
    an example's random numbers depend neither on the batch nor on the replica that it is in.

    Args:
        seed: The run's seed.
        keys: int [...], positions in the endless stream of examples.
        purpose: What the numbers are for. The pipeline uses `view_1`, `view_2`, `finetune` and
            `distill`; other names, such as `view_1/blur`, give independent numbers.

    Returns:
        int32 [..., 2].

    Example:
        >>> example_seeds(0, tf.constant([5, 6], tf.int64), "view_1/blur").shape
        TensorShape([2, 2])
    """
    keys = tf.bitcast(tf.cast(keys, tf.int64), tf.int32)[..., 0]  # The low half; keys may pass 2**31.
    return tf.stack([tf.fill(tf.shape(keys), stream_number(seed, purpose)), keys], axis=-1)


def uniform_of_seeds(seeds: tf.Tensor, draw: int) -> tf.Tensor:
    """Draws a uniform number for each seed: the same on every device, compiled or not.

    `tf.random.stateless_uniform` takes one seed at a time, and gives other numbers under XLA.

    Args:
        seeds: int [N, 2].
        draw: Number of the draw, where several are made from the same seeds.

    Returns:
        float32 [N] in [0, 1).
    """
    seeds = tf.bitcast(tf.cast(seeds, tf.int32), tf.uint32)
    stream, example = seeds[:, 0], seeds[:, 1]  # Unstacking has no kernel for uint32 on a GPU.
    shifted = stream + tf.constant(draw * 0x9E3779B9 % 2**32, tf.uint32)
    bits = _mixed(tf.bitwise.bitwise_xor(_mixed(shifted), _mixed(example)))
    # As many bits as a float32 holds.
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def _mixed(bits: tf.Tensor) -> tf.Tensor:
    """Applies a bijection of uint32 in which each output bit depends on every input bit ("lowbias32")."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32)))
        bits *= tf.constant(factor, tf.uint32)
    return bits


def stream_number(seed: int, purpose: str) -> int:
    """Returns a number in [-2**31, 2**31) that identifies the random stream of a run and a purpose."""
    return zlib.crc32(f"{purpose}/{seed}".encode()) - 2**31
