"""The chunks of a PNG file, as operations of TensorFlow's graph.

A file is a signature and chunks of length, name, data and checksum. The first chunk is the header, which has
the picture's size; the pixels are in one or more chunks `IDAT`.
"""

from __future__ import annotations

import tensorflow as tf

PIXELS = b"IDAT"
# Bytes of the signature and the header.
PNG_HEAD = 33
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIZE_AT, _COLOR_TYPE_AT = 16, 25
_GRAY_WITH_ALPHA, _RGB_WITH_ALPHA = b"\4", b"\6"
# Of a chunk: length and name in front of its data, the checksum after it.
_IN_FRONT, _FRAME = 8, 12


def is_png(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], begins as PNG does, with its header."""
    begin = tf.strings.substr(contents, 0, tf.minimum(tf.strings.length(contents), len(_SIGNATURE)))
    return (begin == _SIGNATURE) & (tf.strings.length(contents) >= PNG_HEAD)


def png_size(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the height and width, int64 [], that a PNG file claims to have, before anything is decoded."""
    width, height = _numbers(tf.strings.substr(contents, _SIZE_AT, 8), 2)
    return height, width


def has_alpha_channel(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether the pixels of a PNG file have an alpha channel; bool []."""
    color_type = tf.strings.substr(contents, _COLOR_TYPE_AT, 1)
    return (color_type == _GRAY_WITH_ALPHA) | (color_type == _RGB_WITH_ALPHA)


def find_chunk(contents: tf.Tensor, name: bytes, until: bytes = b"IEND") -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the first chunk of a name.

    Args:
        contents: string [], a PNG file's bytes.
        name: Of four letters.
        until: Name of the chunk at which the search ends.

    Returns:
        Where its data begin, and the number of bytes; int32 []. (0, 0) if there is none.
    """
    size = tf.cast(tf.strings.length(contents), tf.int64)
    nowhere = tf.constant(0, tf.int64)

    def is_searching(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return (start == 0) & (position > 0) & (position + _FRAME <= size)

    def next_chunk(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = tf.strings.substr(contents, tf.cast(position, tf.int32), _IN_FRONT)
        (length,) = _numbers(tf.strings.substr(head, 0, 4), 1)
        found = tf.strings.substr(head, 4, 4)
        behind = position + _FRAME + length
        is_whole = (length >= 0) & (behind <= size)
        start = tf.where(is_whole & (found == name), position + _IN_FRONT, nowhere)
        return tf.where(is_whole & (found != until), behind, nowhere), start, length

    _, start, length = tf.while_loop(
        is_searching, next_chunk, (tf.constant(PNG_HEAD, tf.int64), nowhere, nowhere)
    )
    return tf.cast(start, tf.int32), tf.cast(tf.where(start > 0, length, 0), tf.int32)


def _numbers(data: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Big-endian numbers of 32 bits."""
    numbers = tf.ensure_shape(tf.io.decode_raw(data, tf.int32, little_endian=False), [count])
    return tf.unstack(tf.cast(numbers, tf.int64))
