"""The size that an image file claims to have, read before anything is decoded.

`data/request_images.py` does the same inside of exported graphs, for a limit that is fixed with the export;
an import of `data/` would load TensorFlow Datasets into the server.
"""

from __future__ import annotations

import struct

import tensorflow as tf

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = 33


def num_pixels(contents: bytes) -> int:
    """Returns how many pixels a JPEG or PNG file claims to have; 0 for other bytes, and broken headers.

    What has no size is left to the module, which may take other strings than images.

    Args:
        contents: The file's bytes.
    """
    if contents.startswith(_PNG_MAGIC) and len(contents) >= _PNG_HEAD:
        width, height = struct.unpack(">II", contents[16:24])
        return width * height
    if contents.startswith(_JPEG_MAGIC):
        try:
            height, width, _ = tf.io.extract_jpeg_shape(contents).numpy().tolist()
        except tf.errors.InvalidArgumentError:
            return 0
        return height * width
    return 0
