"""Formats that TensorFlow does not read, or reads with wrong colors: Pillow reads them."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, TiffImagePlugin

from tf_simclrv2.private_api import register_python_function

# Pillow's other formats begin with anything, or start programs to be read.
FORMATS = ("GIF", "BMP", "WEBP", "TIFF", "AVIF")
# Gray of 16 bits. Pillow has no conversion to RGB that keeps the values.
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
# Pillow gives numbers of 32 bits, and floating-point ones.
_MODES_WITHOUT_RANGE = ("I", "F")
# Tags of TIFF, and values that Pillow reads as if they were the usual ones.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _SIGNED = 339, 2
_BITS_PER_SAMPLE = 258
_NAME = "tf_simclrv2/decode_with_pillow"

warnings.filterwarnings("ignore", module=r"PIL\.")  # A file is either decoded or named.


def rgba_of(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a file in a graph; every program that has imported this module can run it.

    Args:
        contents: string [], the file's bytes.

    Returns:
        float32 [height, width, 4], as of `decode_with_pillow`.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not such an image.
    """
    (image,) = tf.raw_ops.PyFuncStateless(input=[contents], token=_NAME, Tout=[tf.float32])
    return tf.ensure_shape(image, [None, None, 4])


def decode_with_pillow(contents: bytes) -> np.ndarray:
    """Decodes GIF, BMP, WebP, TIFF and AVIF; the last if Pillow was built with it.

    Args:
        contents: The file's bytes.

    Returns:
        float32 [height, width, 4], red, green, blue and alpha in [0, 1], of the first frame, upright.

    Raises:
        ValueError: The bytes are not such an image, end too early, have too many pixels, or hold numbers
            without a known range: floating-point, signed or of 32 bits.

    Example:
        >>> decode_with_pillow(open("stamp.gif", "rb").read()).shape
        (40, 60, 4)
    """
    try:
        with Image.open(io.BytesIO(contents), formats=_formats()) as image:
            return _as_rgba(ImageOps.exif_transpose(image), _tags_of(image))
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever a broken file makes them raise.
        raise ValueError(f"the image cannot be decoded ({error})") from error


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _tags_of(image: Image.Image) -> Mapping[int, Any]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _as_rgba(image: Image.Image, tags: Mapping[int, Any]) -> np.ndarray:
    if image.mode in _MODES_WITHOUT_RANGE or _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("the image holds signed, floating-point or 32-bit numbers, whose range is not known")
    if image.mode in _WIDE_MODES:
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]  # Pillow keeps the numbers of 12 bits as they are.
        gray = np.asarray(image, np.float32) / (2**bits - 1)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            gray = 1 - gray
        return np.stack([gray, gray, gray, np.ones_like(gray)], axis=-1)
    return np.asarray(image.convert("RGBA"), np.float32) / np.iinfo(np.uint8).max


def _called_by_graphs(contents: bytes | np.ndarray) -> np.ndarray:
    # Outside of a graph TensorFlow passes an array of one object.
    return decode_with_pillow(contents if isinstance(contents, bytes) else contents.item())


register_python_function(_NAME, _called_by_graphs)
