"""Decoding inside of a pipeline: what cannot be decoded is marked instead of ending the pipeline.

An op that fails ends the element of a dataset, so decoding runs in a small dataset of its own. TensorFlow
sets up its graph again for every image, which takes longer the more ops it has. So nearly all files are
decoded by a graph of one op, whose result is then judged outside; the graph that can do everything runs for
the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from tf_simclrv2.data.encoded_images import (
    Color,
    decode_image,
    decode_rgb,
    is_for_one_op,
    is_plain,
    turned_as_noted,
)

_Record = dict[str, tf.Tensor]
_Value = TypeVar("_Value")


def decoded_then(
    transform: Callable[[_Record], _Record],
    read: Callable[[_Record], tf.Tensor],
    background: Color,
) -> Callable[[_Record], _Record]:
    """Makes a function that turns a record into its example, and one that cannot be decoded into a black one.

    Args:
        transform: Makes an example of a record with its `image`, float32 [height, width, 3] in [0, 1].
        read: Gives the encoded image of a record, string []. A function of a module, rather than a new one
            for each pipeline, shares its graph with other pipelines.
        background: Red, green and blue in [0, 1] behind what is transparent.

    Returns:
        The function. It adds to the example the record's `path`, and `readable`, bool [].
    """
    decode = _decoder(read, background)

    def prepare(record: _Record) -> _Record:
        image, readable = decode(record)
        return transform(record | {"image": image}) | {"path": record["path"], "readable": readable}

    return prepare


@functools.cache
def _decoder(
    read: Callable[[_Record], tf.Tensor], background: Color
) -> Callable[[_Record], tuple[tf.Tensor, tf.Tensor]]:
    """Makes what decodes a record, or says that it cannot.

    It is traced once in a process, not once for each pipeline: that takes one to two seconds.
    """

    def quickly(record: _Record) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        contents = read(record)
        with tf.control_dependencies([tf.debugging.Assert(is_for_one_op(contents), [""])]):
            return contents, decode_rgb(contents), tf.constant(True)

    def thoroughly(record: _Record) -> tuple[tf.Tensor, tf.Tensor]:
        return decode_image(read(record), background), tf.constant(True)

    @tf.function(autograph=False)
    def decode(record: _Record) -> tuple[tf.Tensor, tf.Tensor]:
        # A function that a pipeline calls is placed again; nothing of it belongs on a GPU.
        with tf.device("/CPU:0"):
            black = (tf.zeros([1, 1, 3]), tf.constant(False))
            contents, image, decoded = or_else(quickly, record, (tf.constant(b""), *black))
            return tf.cond(
                decoded & is_plain(contents),
                lambda: (turned_as_noted(image, contents), tf.constant(True)),
                lambda: or_else(thoroughly, record, black),
            )

    return decode


def or_else(function: Callable[[_Record], _Value], argument: _Record, fallback: _Value) -> _Value:
    """Returns function(argument), or the fallback if an op of it fails."""
    attempt = tf.data.Dataset.from_tensors(argument).map(function).ignore_errors()
    return attempt.concatenate(tf.data.Dataset.from_tensors(fallback)).take(1).get_single_element()
