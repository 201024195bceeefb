"""From an image file's bytes to the picture that a viewer shows."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.data.exif_orientation import jpeg_orientation, png_orientation, turned_upright
from tf_simclrv2.data.other_formats import decode_with_pillow, rgba_of
from tf_simclrv2.data.png_chunks import PIXELS, PNG_HEAD, find_chunk, has_alpha_channel, is_png, png_size

Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)
_Finish = Callable[[tf.Tensor], tf.Tensor]
# Of one image. TensorFlow's decoder of JPEG and Pillow have this limit too.
MAX_PIXELS = 2**29 // 3

_JPEG_MAGIC = b"\xff\xd8\xff"
# Notes about an image stand in front of its pixels, in segments of JPEG of at most 64 KiB, or after them.
_BEGIN_BYTES, _END_BYTES = 2 * 2**16, 2**16
_TRANSPARENT_COLORS, _NOTES, _JPEG_NOTES = b"tRNS", b"eXIf", b"Exif\0\0"


def decode_image(contents: tf.Tensor, background: Color = WHITE, *, portable: bool = False) -> tf.Tensor:
    """Decodes an image file as a viewer shows it: upright, and composited onto a background if transparent.

    JPEG and PNG of 8 or 16 bits are decoded by TensorFlow, everything else by Pillow: GIF, BMP, WebP, TIFF
    and AVIF. The format is recognized from the file's first bytes. Of several frames, the first is decoded.

    Args:
        contents: string [], a file's bytes.
        background: Red, green and blue in [0, 1] behind what is transparent; white by default.
        portable: Whether the graph has to run without Python, which can only read JPEG and PNG there.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not such an image, end too early, or claim to be one of
            more than `MAX_PIXELS`, for which no memory is taken.

    Example:
        >>> decode_image(tf.io.read_file("owl.png"), background=(0.0, 0.0, 0.0)).dtype
        tf.float32
    """
    image = _decoded(contents, lambda rgb: rgb, lambda rgba: laid_on(rgba, background), portable)
    return tf.ensure_shape(image, [None, None, 3])


def decode_rgba(contents: tf.Tensor) -> tf.Tensor:
    """Decodes an image file as `decode_image`, but keeps its transparency.

    Args:
        contents: string [], a file's bytes.

    Returns:
        float32 [height, width, 4] in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: As `decode_image`.
    """
    image = _decoded(
        contents, lambda rgb: tf.pad(rgb, [[0, 0], [0, 0], [0, 1]], constant_values=1.0), tf.identity
    )
    return tf.ensure_shape(image, [None, None, 4])


def is_readable(path: str) -> bool:
    """Returns whether a file can be decoded; not for use in a graph.

    Args:
        path: The file, on any filesystem that TensorFlow knows.
    """
    try:
        contents = tf.io.read_file(path)
        if is_for_one_op(contents):
            decode_rgb(contents)
        else:
            decode_with_pillow(contents.numpy())
    except (tf.errors.OpError, ValueError):
        return False
    return True


def laid_on(rgba: tf.Tensor, background: Color) -> tf.Tensor:
    """Mixes an image, float32 [height, width, 4], with a color, as its alpha channel says."""
    colors, alpha = rgba[..., :3], rgba[..., 3:]
    return colors * alpha + tf.constant(background, tf.float32) * (1.0 - alpha)


def _decoded(contents: tf.Tensor, from_rgb: _Finish, from_rgba: _Finish, portable: bool = False) -> tf.Tensor:
    """Decodes a file to three channels, or to four if it may be transparent, and finishes the result."""

    def other() -> tf.Tensor:
        return from_rgba(_refused() if portable else rgba_of(contents))

    return tf.cond(
        is_jpeg(contents),
        lambda: from_rgb(turned_as_noted(decode_rgb(contents), contents)),
        lambda: tf.cond(is_png(contents), lambda: _decode_png(contents, from_rgb, from_rgba), other),
    )


def decode_rgb(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a file by a single op: neither turned nor laid on a background, and whatever its size.

    Args:
        contents: string [], a file's bytes.

    Returns:
        float32 [height, width, 3] in [0, 1]; the right picture if `is_plain`, once it is `turned_as_noted`.
    """
    image = tf.io.decode_image(contents, channels=3, dtype=tf.float32, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def is_plain(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is a JPEG, or for certain a PNG that is opaque and upright.

    Args:
        contents: string [], a file's bytes.

    Returns:
        bool [].
    """
    return tf.cond(is_jpeg(contents), lambda: True, lambda: _is_plain_png(contents))


def _is_plain_png(contents: tf.Tensor) -> tf.Tensor:
    def judge() -> tf.Tensor:
        parts = _split(_begin(contents), PIXELS)
        noted = _has(parts[0], _NOTES) | _has(_end(contents), _NOTES)
        transparent = has_alpha_channel(contents) | _has(parts[0], _TRANSPARENT_COLORS)
        return (tf.size(parts) > 1) & ~noted & ~transparent

    return tf.cond(is_png(contents), judge, lambda: False)


def turned_as_noted(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    """Turns an image [height, width, 3] as its JPEG file, string [], notes in EXIF; others stay."""

    # Not inlined, for most files have no note, and ops that are not run take time too.
    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def turned(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
        return turned_upright(image, jpeg_orientation(contents))

    has_note = tf.cond(is_jpeg(contents), lambda: _has(_begin(contents), _JPEG_NOTES), lambda: False)
    image = tf.cond(has_note, lambda: turned(image, contents), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


def _begin(contents: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(contents, 0, tf.minimum(tf.strings.length(contents), _BEGIN_BYTES))


def _end(contents: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(contents, tf.maximum(tf.strings.length(contents) - _END_BYTES, 0), _END_BYTES)


def _has(contents: tf.Tensor, word: bytes) -> tf.Tensor:
    return tf.size(_split(contents, word)) > 1


def _split(contents: tf.Tensor, word: bytes) -> tf.Tensor:
    """What is before the first such word, and what is after it; several times faster than an expression."""
    return tf.strings.split([contents], word, maxsplit=1).values


def is_jpeg(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], begins as JPEG does."""
    begin = tf.strings.substr(contents, 0, tf.minimum(tf.strings.length(contents), len(_JPEG_MAGIC)))
    return begin == _JPEG_MAGIC


def is_for_one_op(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether a file, string [], is a JPEG, or a PNG that does not claim to be too large; bool [].

    Raises:
        tf.errors.InvalidArgumentError: The file is shorter than any image.
    """
    head = tf.strings.substr(contents, 0, PNG_HEAD)
    return is_jpeg(head) | (is_png(head) & (_pixels_of_png(head) <= MAX_PIXELS))


def _pixels_of_png(contents: tf.Tensor) -> tf.Tensor:
    height, width = png_size(contents)
    return height * width


def _decode_png(contents: tf.Tensor, from_rgb: _Finish, from_rgba: _Finish) -> tf.Tensor:
    def rgba() -> tf.Tensor:
        return tf.cast(tf.io.decode_png(contents, channels=4, dtype=tf.uint16), tf.float32) / tf.uint16.max

    fits = tf.debugging.Assert(_pixels_of_png(contents) <= MAX_PIXELS, ["The image has too many pixels."])
    with tf.control_dependencies([fits]):
        image = tf.cond(
            _png_is_transparent(contents), lambda: from_rgba(rgba()), lambda: from_rgb(decode_rgb(contents))
        )
    return turned_upright(image, png_orientation(contents))


def _png_is_transparent(contents: tf.Tensor) -> tf.Tensor:
    """Whether a PNG file has an alpha channel, or transparent colors, which come before its pixels.

    To others TensorFlow would add a wrong alpha where a sample has fewer than 8 bits.
    """
    start, _ = find_chunk(contents, _TRANSPARENT_COLORS, until=PIXELS)
    return has_alpha_channel(contents) | (start > 0)


def _refused() -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(False, ["The image is neither JPEG nor PNG."])]):
        return tf.zeros([1, 1, 4])
