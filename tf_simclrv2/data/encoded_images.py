"""From an image file's bytes to the picture that a viewer shows."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclrv2.data.exif_orientation import exif_orientation, turned_upright
from tf_simclrv2.data.other_formats import decode_with_pillow

Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)

_JPEG_MAGIC = b"\xff\xd8\xff"
# Notes about an image stand in front of its pixels, in segments of JPEG of at most 64 KiB.
_BEGIN_BYTES = 2 * 2**16
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# PNG begins with a signature and chunks of length, type, data and checksum. The first chunk is the header.
_PNG_HEAD, _COLOR_TYPE_AT, _SECOND_CHUNK = 33, 25, 33
_GRAY_WITH_ALPHA, _RGB_WITH_ALPHA = b"\4", b"\6"
_CHUNK_FRAME = 12


def decode_image(contents: tf.Tensor, background: Color = WHITE, *, portable: bool = False) -> tf.Tensor:
    """Decodes an image file as a viewer shows it: upright, and laid on a background where it is transparent.

    JPEG and PNG of 8 or 16 bits are decoded by TensorFlow, everything else by Pillow: GIF, BMP, WebP, TIFF
    and AVIF. The format is told by the file's first bytes. Of several frames the first one is decoded.

    Args:
        contents: string [], a file's bytes.
        background: Red, green and blue in [0, 1] behind what is transparent; white by default.
        portable: Whether the graph has to run in another program, which knows JPEG and PNG alone.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not such an image, or end too early.

    Example:
        >>> decode_image(tf.io.read_file("owl.png"), background=(0.0, 0.0, 0.0)).dtype
        tf.float32
    """
    other = _refused if portable else _by_pillow
    image = tf.cond(
        is_jpeg(contents),
        lambda: turned_as_noted(decode_rgb(contents), contents),
        lambda: tf.cond(
            is_png(contents), lambda: _decode_png(contents, background), lambda: other(contents, background)
        ),
    )
    return tf.ensure_shape(image, [None, None, 3])


def decode_rgb(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a file by a single op: neither turned nor laid on a background.

    Args:
        contents: string [], a file's bytes.

    Returns:
        float32 [height, width, 3] in [0, 1]; the right picture if `is_opaque`, once it is `turned_as_noted`.
    """
    image = tf.io.decode_image(contents, channels=3, dtype=tf.float32, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def is_opaque(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], is a JPEG, or a PNG that is opaque for certain; bool []."""
    return tf.cond(is_jpeg(contents), lambda: True, lambda: _is_opaque_png(_begin(contents)))


def _is_opaque_png(begin: tf.Tensor) -> tf.Tensor:
    png = is_png(begin)
    color_type = tf.strings.substr(begin, tf.where(png, _COLOR_TYPE_AT, 0), tf.cast(png, tf.int32))
    has_alpha_channel = (color_type == _GRAY_WITH_ALPHA) | (color_type == _RGB_WITH_ALPHA)
    # The chunk of transparent colors would come before the pixels.
    return png & ~has_alpha_channel & _has(begin, "IDAT") & ~_has(begin, "tRNS")


def turned_as_noted(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    """Turns an image [height, width, 3] as its JPEG file, string [], notes in EXIF; others stay."""

    # Not inlined, for most files have no note, and ops that are not run take time too.
    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def turned(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
        return turned_upright(image, exif_orientation(contents))

    has_note = _has(_begin(contents), r"Exif\x00\x00")
    image = tf.cond(has_note, lambda: turned(image, contents), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


def _begin(contents: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(contents, 0, tf.minimum(tf.strings.length(contents), _BEGIN_BYTES))


def _has(begin: tf.Tensor, word: str) -> tf.Tensor:
    return tf.strings.regex_full_match(begin, rf"\C*{word}\C*")  # \C is any byte.


def is_jpeg(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], begins as JPEG does."""
    return _starts_with(contents, _JPEG_MAGIC)


def is_png(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], begins as PNG does, with its header."""
    return _starts_with(contents, _PNG_MAGIC) & (tf.strings.length(contents) >= _PNG_HEAD)


def _starts_with(contents: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.strings.substr(contents, 0, tf.minimum(tf.strings.length(contents), len(magic))) == magic


def _decode_png(contents: tf.Tensor, background: Color) -> tf.Tensor:
    def flattened() -> tf.Tensor:
        pixels = tf.io.decode_png(contents, channels=4, dtype=tf.uint16)
        return _laid_on(tf.cast(pixels, tf.float32) / tf.uint16.max, background)

    return tf.cond(_png_is_transparent(contents), flattened, lambda: decode_rgb(contents))


def _laid_on(image: tf.Tensor, background: Color) -> tf.Tensor:
    """The alpha channel's mixture of an image [height, width, 4] and a color."""
    colors, alpha = image[..., :3], image[..., 3:]
    return colors * alpha + tf.constant(background, tf.float32) * (1.0 - alpha)


def _png_is_transparent(contents: tf.Tensor) -> tf.Tensor:
    """Whether a PNG file has an alpha channel, or a `tRNS` chunk before its pixels.

    To others TensorFlow would add a wrong alpha where a sample has fewer than 8 bits.
    """
    color_type = tf.strings.substr(contents, _COLOR_TYPE_AT, 1)
    size = tf.cast(tf.strings.length(contents), tf.int64)

    def is_searching(position: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return ~found & (position > 0) & (position + _CHUNK_FRAME <= size)

    def next_chunk(position: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = tf.strings.substr(contents, tf.cast(position, tf.int32), 8)
        (length,) = tf.unstack(
            tf.io.decode_raw(tf.strings.substr(head, 0, 4), tf.int32, little_endian=False), num=1
        )
        name = tf.strings.substr(head, 4, 4)
        behind = position + _CHUNK_FRAME + tf.cast(length, tf.int64)
        return tf.where((name == b"IDAT") | (length < 0), tf.constant(0, tf.int64), behind), name == b"tRNS"

    _, has_chunk = tf.cond(
        (color_type == _GRAY_WITH_ALPHA) | (color_type == _RGB_WITH_ALPHA),
        lambda: (tf.constant(0, tf.int64), tf.constant(True)),
        lambda: tf.while_loop(
            is_searching, next_chunk, (tf.constant(_SECOND_CHUNK, tf.int64), tf.constant(False))
        ),
    )
    return has_chunk


def _by_pillow(contents: tf.Tensor, background: Color) -> tf.Tensor:
    def decode(contents: bytes | np.ndarray) -> np.ndarray:
        # Outside of a graph TensorFlow passes an array of one object.
        return decode_with_pillow(contents if isinstance(contents, bytes) else contents.item())

    image = tf.numpy_function(decode, [contents], tf.float32, stateful=False)
    return _laid_on(tf.ensure_shape(image, [None, None, 4]), background)


def _refused(contents: tf.Tensor, background: Color) -> tf.Tensor:
    del contents, background
    with tf.control_dependencies([tf.debugging.Assert(False, ["The image is neither JPEG nor PNG."])]):
        return tf.zeros([1, 1, 3])
