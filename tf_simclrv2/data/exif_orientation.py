"""The orientation that a camera writes into a JPEG or PNG file, as operations of TensorFlow's graph.

A camera that is held upright often stores its pixels sideways, and notes in the file how to turn them (tag
0x0112 of the EXIF standard). TensorFlow's decoder ignores the note. It is read here without Python, so that
data services and exported modules read it too.
"""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.data.png_chunks import find_chunk

UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
_FIRST_SEGMENT = 2
_EXIF = b"Exif\0\0"
_PNG_CHUNK = b"eXIf"
# Segments that come before the image's tables: APP0 to APP15, and comments.
_APP_0, _APP_1, _APP_15, _COMMENT = 0xE0, 0xE1, 0xEF, 0xFE
# An image file directory of EXIF: a count, and entries of 12 bytes: tag, type, count, value.
_ENTRY_BYTES, _MOST_ENTRIES = 12, 64
_BYTE, _SHORT, _LONG = 1, 3, 4


def jpeg_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Reads how a JPEG file's pixels have to be turned.

    Args:
        contents: string [], the file's bytes; it begins as a JPEG file does.

    Returns:
        int64 [], 1 to 8 as in the EXIF standard. 1, upright, if the file does not say, or says it wrongly.

    Example:
        >>> jpeg_orientation(tf.constant(open("portrait.jpg", "rb").read()))
        <tf.Tensor: shape=(), dtype=int64, numpy=6>
    """
    start, length = _exif_segment(contents)
    return tf.cond(
        length > 0,
        lambda: _orientation_in(tf.strings.substr(contents, start, length)),
        lambda: tf.constant(UPRIGHT, tf.int64),
    )


def png_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Reads how a PNG file's pixels have to be turned; argument and result as of `jpeg_orientation`."""
    start, length = find_chunk(contents, _PNG_CHUNK)
    return tf.cond(
        length > 0,
        lambda: _orientation_in(_without_name(tf.strings.substr(contents, start, length))),
        lambda: tf.constant(UPRIGHT, tf.int64),
    )


def _without_name(block: tf.Tensor) -> tf.Tensor:
    """An EXIF block without the name that it has in JPEG files, and by mistake in some others."""
    return tf.strings.regex_replace(block, r"^Exif\x00\x00", "")


def turned_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns pixels as an EXIF orientation says.

    Args:
        image: [height, width, channels].
        orientation: int64 [], 1 to 8.

    Returns:
        The image; height and width are exchanged for 5 to 8.
    """

    def changed() -> tf.Tensor:
        exchanged = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        upside_down = _is_any(orientation, (3, 4, 7, 8))
        turned = tf.cond(upside_down, lambda: tf.reverse(exchanged, [0]), lambda: exchanged)
        mirrored = _is_any(orientation, (2, 3, 6, 7))
        return tf.cond(mirrored, lambda: tf.reverse(turned, [1]), lambda: turned)

    return tf.cond(orientation == UPRIGHT, lambda: image, changed)


def _is_any(orientation: tf.Tensor, those: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(orientation == tf.constant(those, tf.int64))


def _exif_segment(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the EXIF block begins after its name, and its bytes; (0, 0) if there is none."""
    size = tf.strings.length(contents)

    def is_searching(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return (start == 0) & (position > 0) & (position + 4 <= size)

    def next_segment(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, position, 4), tf.uint8), tf.int32)
        marker, length = head[1], 256 * head[2] + head[3]
        is_before_tables = (marker >= _APP_0) & (marker <= _APP_15) | (marker == _COMMENT)
        goes_on = (head[0] == 0xFF) & is_before_tables & (length >= 2)
        holds = goes_on & (marker == _APP_1) & (length >= 2 + len(_EXIF)) & (position + 2 + length <= size)
        is_exif = tf.cond(
            holds, lambda: tf.strings.substr(contents, position + 4, len(_EXIF)) == _EXIF, lambda: False
        )
        start = tf.where(is_exif, position + 4 + len(_EXIF), 0)
        return tf.where(goes_on, position + 2 + length, 0), start, length - 2 - len(_EXIF)

    _, start, length = tf.while_loop(is_searching, next_segment, (_FIRST_SEGMENT, 0, 0))
    return start, tf.where(start > 0, length, 0)


def _orientation_in(block: tf.Tensor) -> tf.Tensor:
    """The orientation in an EXIF block, which is a TIFF file without pixels."""
    size = tf.strings.length(block, name="size")
    padding = _MOST_ENTRIES * _ENTRY_BYTES + 16
    data = tf.pad(tf.cast(tf.io.decode_raw(block, tf.uint8), tf.int64), [[0, padding]])
    is_big_endian = data[0] == ord("M")

    def number(position: tf.Tensor, count: int) -> tf.Tensor:
        """Unsigned integers of so many bytes."""
        positions = tf.minimum(tf.cast(position, tf.int64), tf.cast(size, tf.int64))[..., tf.newaxis]
        parts = tf.gather(data, positions + tf.range(count, dtype=tf.int64))
        powers = [256**power for power in range(count)]
        small, big = tf.constant(powers, tf.int64), tf.constant(powers[::-1], tf.int64)
        return tf.reduce_sum(parts * tf.where(is_big_endian, big, small), axis=-1)

    directory = number(tf.constant(4), 4)
    entries = directory + 2 + _ENTRY_BYTES * tf.range(_MOST_ENTRIES, dtype=tf.int64)
    is_there = tf.range(_MOST_ENTRIES, dtype=tf.int64) < number(directory, 2)
    kinds, at = number(entries + 2, 2), entries + 8
    values = tf.where(kinds == _LONG, number(at, 4), tf.where(kinds == _BYTE, number(at, 1), number(at, 2)))
    is_known = is_there & (number(entries, 2) == _ORIENTATION_TAG) & (values >= 1) & (values <= 8)
    return tf.where(tf.reduce_any(is_known), values[tf.argmax(is_known)], UPRIGHT)
