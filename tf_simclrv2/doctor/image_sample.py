"""Describes a few images of a source, before any augmentation."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclrv2.data import Source, decode_image

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
    """

    count: int
    unreadable: int
    constant: int
    brightest: float
    median_side: float


def sample_images(source: Source, most: int = MOST) -> ImageSample:
    """Decodes images from all parts of a source, and describes them.

    Args:
        source: The images.
        most: The number of images to decode; 32 by default.
    """
    few = source.sample(most)
    sides, brightest, constant, unreadable = [], 0.0, 0, 0
    for record in few.records:
        try:
            image = decode_image(source.read(record), source.background).numpy()
        except tf.errors.OpError:
            unreadable += 1
            continue
        sides.append(min(image.shape[:2]))
        brightest = max(brightest, float(image.max()))
        constant += bool(np.ptp(image, axis=(0, 1)).max() < ONE_STEP)
    median = float(np.median(sides)) if sides else 0.0
    return ImageSample(len(sides), unreadable, constant, brightest, median)
