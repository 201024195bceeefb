"""Formats that TensorFlow does not read, or reads with wrong colors: Pillow reads them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

# Above 8 bits a channel. Pillow has no conversion of these to RGB that keeps the values.
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode_with_pillow(contents: bytes) -> np.ndarray:
    """Decodes GIF, BMP, WebP, TIFF, AVIF and whatever else Pillow knows.

    Args:
        contents: The file's bytes.

    Returns:
        float32 [height, width, 4], red, green, blue and alpha in [0, 1], of the first frame, upright.

    Raises:
        ValueError: The bytes are not such an image, end too early, or hold numbers without a range.

    Example:
        >>> decode_with_pillow(open("stamp.gif", "rb").read()).shape
        (40, 60, 4)
    """
    try:
        with Image.open(io.BytesIO(contents)) as image:
            return _as_rgba(ImageOps.exif_transpose(image))
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever a broken file makes them raise.
        raise ValueError(f"the image cannot be decoded ({error})") from error


def _as_rgba(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("the image's pixels are floating-point numbers, whose range is not known")
    if image.mode in _WIDE_MODES:
        gray = np.asarray(image, np.float32) / np.iinfo(np.uint16).max
        if gray.max(initial=0.0) > 1.0:
            raise ValueError("the image has more than 16 bits a channel")
        return np.stack([gray, gray, gray, np.ones_like(gray)], axis=-1)
    return np.asarray(image.convert("RGBA"), np.float32) / np.iinfo(np.uint8).max
