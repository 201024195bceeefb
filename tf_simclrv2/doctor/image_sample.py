"""Describes a few images of a source, before any augmentation."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclrv2.data import Source
from tf_simclrv2.data.encoded_images import decode_rgba, laid_on
from tf_simclrv2.data.source import Record

MOST = 32
# An image whose values differ by less than one step of 8 bits is constant.
ONE_STEP = 1 / 255


@dataclasses.dataclass(frozen=True)
class ImageSample:
    """Properties of some images of a source.

    Attributes:
        count: The number of images that could be read.
        unreadable: The number of images that could not.
        constant: The number of images of a single color.
        brightest: The largest value in any of them, in [0, 1].
        median_side: The median of their shorter sides, in pixels.
        transparent: The number of images through which the background shows.
        names: Those that could not be read.
    """

    count: int
    unreadable: int
    constant: int
    brightest: float
    median_side: float
    transparent: int = 0
    names: tuple[str, ...] = ()


def sample_images(source: Source, most: int = MOST) -> ImageSample:
    """Decodes images from all parts of a source, and describes them.

    Args:
        source: The images.
        most: The number of images to decode; 32 by default.
    """
    few = source.sample(most)

    @tf.function(input_signature=[few.records.element_spec])
    def decode(record: Record) -> tuple[tf.Tensor, tf.Tensor]:
        image = decode_rgba(source.read(record))
        return laid_on(image, source.background), tf.reduce_any(image[..., 3] < 1.0)

    sides, names, brightest, constant, transparent = [], [], 0.0, 0, 0
    for record in few.records:
        try:
            image, shows_through = (tensor.numpy() for tensor in decode(record))
        except tf.errors.OpError:
            names.append(record["path"].numpy().decode())
            continue
        sides.append(min(image.shape[:2]))
        brightest = max(brightest, float(image.max()))
        transparent += bool(shows_through)
        constant += bool(np.ptp(image, axis=(0, 1)).max() < ONE_STEP)
    median = float(np.median(sides)) if sides else 0.0
    return ImageSample(len(sides), len(names), constant, brightest, median, transparent, tuple(names))
