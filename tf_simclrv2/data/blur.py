"""Random Gaussian blur of whole batches, the last step of SimCLR's augmentation (arXiv 2002.05709, A).

It runs on the device that trains, compiles under XLA and keeps the images' dtype. A separable
blur is written as a weighted sum of shifted images, which takes a sigma for each image, fuses
under XLA, and never falls to the reduced precision of matrix units. A CPU has none and does not
fuse: there it is a product with a band matrix for each image.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow as tf

from tf_simclrv2.data.seeds import uniform_of_seeds
from tf_simclrv2.distribution import devices
from tf_simclrv2.distribution.compilation import fused_on_gpu

BLUR_PROBABILITY = 0.5
SIGMA_RANGE = (0.1, 2.0)


def batch_random_blur(
    images: tf.Tensor,
    seeds: tf.Tensor,
    image_size: int,
    sigma_per: Literal["example", "batch"] = "example",
) -> tf.Tensor:
    """Blurs each image with probability 0.5, with a sigma uniform in [0.1, 2] pixels.

    Args:
        images: float [N, height, width, 3] in [0, 1], of static height and width.
        seeds: int [N, 2], one for each image: `example_seeds(seed, keys, "view_1/blur")`.
        image_size: The kernel spans a tenth of it.
        sigma_per: `example` draws a sigma for each image; `batch` one for all, from the first
            seed, as published.

    Returns:
        Images of the same shape and dtype in [0, 1].

    Example:
        >>> seeds = example_seeds(0, tf.range(4), "view_1/blur")
        >>> batch_random_blur(tf.ones([4, 64, 64, 3]), seeds, 64).shape
        TensorShape([4, 64, 64, 3])
    """
    chosen = uniform_of_seeds(seeds, 0) < BLUR_PROBABILITY
    low, high = SIGMA_RANGE
    sigmas = low + (high - low) * tf.cast(uniform_of_seeds(seeds, 1), images.dtype)
    if sigma_per == "batch":
        sigmas = tf.broadcast_to(sigmas[0], tf.shape(sigmas))

    def blurred(images: tf.Tensor, sigmas: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(gaussian_blur(images, image_size // 10, sigmas), 0.0, 1.0)

    if not devices.on_cpu():
        return tf.where(chosen[:, None, None, None], blurred(images, sigmas), images)
    # Half of the work, but of a dynamic shape, which a TPU does not allow.
    rows = tf.where(chosen)
    some = blurred(tf.gather_nd(images, rows), tf.gather_nd(sigmas, rows))
    return tf.tensor_scatter_nd_update(images, rows, some)


def gaussian_blur(
    images: tf.Tensor,
    kernel_size: int,
    sigma: float | tf.Tensor,
    padding: Literal["SAME", "VALID"] = "SAME",
) -> tf.Tensor:
    """Blurs with a separable Gaussian kernel; beyond the border are zeros, so borders darken.

    Args:
        images: float [N, height, width, channels], of static height and width.
        kernel_size: The radius is half of it, rounded down, and the kernel has 2 · radius + 1 taps.
        sigma: Standard deviation in pixels: a scalar, or float [N].
        padding: `SAME` keeps the size; `VALID` drops a radius on each side.

    Returns:
        Images of the same dtype, not clipped.
    """
    radius = kernel_size // 2
    sigma = tf.reshape(tf.cast(sigma, images.dtype), [-1, 1])
    offsets = tf.range(-radius, radius + 1, dtype=images.dtype)
    weights = tf.exp(-0.5 * tf.square(offsets / sigma))
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return (_by_products if devices.on_cpu() else _by_shifts)(images, weights, padding)


def _by_products(images: tf.Tensor, weights: tf.Tensor, padding: str) -> tf.Tensor:
    rows = _blur_by_products(images, weights, 1, padding)
    return _blur_by_products(rows, weights, 2, padding)


@fused_on_gpu  # Not fused, the shifts are 190 passes over a batch.
def _by_shifts(images: tf.Tensor, weights: tf.Tensor, padding: str) -> tf.Tensor:
    rows = _blur_by_shifts(images, weights, 1, padding)
    return _blur_by_shifts(rows, weights, 2, padding)


def _blur_by_shifts(images: tf.Tensor, weights: tf.Tensor, axis: int, padding: str) -> tf.Tensor:
    taps = weights.shape[1]
    if padding == "SAME":
        images = tf.pad(images, [[taps // 2] * 2 if dimension == axis else [0, 0] for dimension in range(4)])
    length = images.shape[axis] - taps + 1
    total = tf.zeros([], images.dtype)
    for tap in range(taps):
        window = [slice(None)] * axis + [slice(tap, tap + length)]
        total += weights[:, tap, None, None, None] * images[tuple(window)]
    return total


def _blur_by_products(images: tf.Tensor, weights: tf.Tensor, axis: int, padding: str) -> tf.Tensor:
    if axis == 2:
        rows = _blur_by_products(tf.transpose(images, [0, 2, 1, 3]), weights, 1, padding)
        return tf.transpose(rows, [0, 2, 1, 3])
    _, height, width, channels = images.shape
    blurred = tf.matmul(_band(weights, height, padding), tf.reshape(images, [-1, height, width * channels]))
    return tf.reshape(blurred, [-1, blurred.shape[1], width, channels])


def _band(weights: tf.Tensor, length: int, padding: str) -> tf.Tensor:
    """The matrices [N, outputs, length] whose rows hold the taps, [N, taps], around the diagonal."""
    taps = weights.shape[1]
    margin = taps // 2 if padding == "SAME" else 0
    tap = np.arange(length) - np.arange(length + 2 * margin - taps + 1)[:, np.newaxis] + margin
    tap = np.where((tap >= 0) & (tap < taps), tap, taps)  # One past the last is a zero.
    return tf.gather(tf.pad(weights, [[0, 0], [0, 1]]), tap, axis=1)
