"""Scales images to thumbnails, packs them into one sheet, and embeds them in a page."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import tensorflow as tf
from PIL import Image

# Quality of the lossy WebP; thumbnails look no better above it.
QUALITY = 82


def thumbnails(images: tf.Tensor, most: int) -> np.ndarray:
    """Scales images to at most `most` pixels a side.

    Args:
        images: Float [N, S, S, 3] in [0, 1].
        most: The largest side in pixels.

    Returns:
        uint8 [N, s, s, 3], s = min(S, most).
    """
    size = min(int(images.shape[1]), most)
    if size < images.shape[1]:
        images = tf.image.resize(images, [size, size], "area")
    return tf.image.convert_image_dtype(tf.clip_by_value(images, 0.0, 1.0), tf.uint8).numpy()


def sheet(images: np.ndarray) -> Image.Image:
    """Arranges all images in one picture, row by row, with ⌈√N⌉ in a row.

    Args:
        images: uint8 [N, S, S, 3], or [N, S, S, 4] with transparency.
    """
    count, size, _, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros([rows * columns, size, size, channels], np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, size, size, channels).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(rows * size, columns * size, channels))


def pack(images: np.ndarray) -> np.ndarray:
    """Packs images into one WebP file, uint8 [bytes]."""
    return np.frombuffer(_webp(sheet(images)), np.uint8)


def unpack(packed: np.ndarray, count: int, size: int) -> np.ndarray:
    """Unpacks what `pack` packed; WebP is lossy, so pixels differ a little.

    Args:
        packed: The bytes of the WebP file.
        count: The number of images.
        size: Side of an image in pixels.

    Returns:
        uint8 [count, size, size, 4].
    """
    pixels = np.asarray(Image.open(io.BytesIO(packed.tobytes())).convert("RGBA"))
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    cells = pixels.reshape(rows, size, columns, size, 4).swapaxes(1, 2)
    return cells.reshape(-1, size, size, 4)[:count]


def data_uri(image: np.ndarray) -> str:
    """Returns a picture, uint8 [H, W, 3] or [H, W, 4] with transparency, as the `src` of an `<img>`."""
    return "data:image/webp;base64," + base64.b64encode(_webp(Image.fromarray(image))).decode()


def _webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return file.getvalue()
