"""Three measures that reveal a collapse of the representation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.precision import full_precision

UNIFORMITY_SCALE = 2.0
# Eigenvalues are exact to a few units in the last place of the largest one, features to a few of their own.
ROUNDING_ERRORS = 4


def collapse_gauges(z_1: tf.Tensor, z_2: tf.Tensor) -> dict[str, tf.Tensor]:
    """Computes the three measures of a batch's projections.

    Args:
        z_1: [N, D], first views.
        z_2: [N, D], second views of the same images.

    Returns:
        Scalars by name: `alignment`, `uniformity` (averaged over first and second views) and `effective_rank`
        (of both views together).
    """
    return {
        "alignment": alignment(z_1, z_2),
        "uniformity": (uniformity(z_1) + uniformity(z_2)) / 2.0,
        "effective_rank": effective_rank(tf.concat([z_1, z_2], axis=0)),
    }


def alignment(z_1: tf.Tensor, z_2: tf.Tensor) -> tf.Tensor:
    """Computes the mean squared distance between two views of an image on the unit sphere; 0 is perfect.

    Args:
        z_1: [N, D], first views.
        z_2: [N, D], second views.

    Returns:
        Scalar in [0, 4], without a gradient.

    Reference: Wang & Isola 2020, arXiv 2005.10242, with α = 2.
    """
    difference = _unit(z_1) - _unit(z_2)
    return tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=1))


def uniformity(z: tf.Tensor) -> tf.Tensor:
    """Computes the log of the mean Gaussian potential of pairs on the unit sphere; 0 means one point.

    The rows should be of different images: two views of one image are close by design, and would hide how the
    images spread.

    Args:
        z: [N, D]; a single row counts as a collapse.

    Returns:
        Scalar in [-8, 0], without a gradient.

    Reference: Wang & Isola 2020, arXiv 2005.10242, with t = 2.
    """
    z = _unit(z)
    squares = tf.reduce_sum(tf.square(z), axis=1)  # 1, but for a row of zeros.
    squared_distances = squares[:, tf.newaxis] + squares - 2.0 * exact_matmul(z, z, transpose_b=True)
    potentials = tf.linalg.set_diag(tf.exp(-UNIFORMITY_SCALE * squared_distances), tf.zeros_like(squares))
    n = tf.cast(tf.shape(z)[0], z.dtype)
    mean = tf.reduce_sum(potentials) / tf.maximum(n * (n - 1.0), 1.0)
    return tf.math.log(tf.where(n < 2.0, tf.ones_like(mean), mean))


def effective_rank(features: tf.Tensor) -> tf.Tensor:
    """Computes how many dimensions the features use: exp of the entropy of their singular values.

    The features are centered and the singular values normalized to a sum of 1. The result lies between 1 (all
    on a line, or at one point) and min(N - 1, D). Singular values below the rounding error count as 0.

    Args:
        features: [N, D].

    Returns:
        Scalar, without a gradient; NaN if a feature is not finite.

    Reference: Roy & Vetterli 2007, "The effective rank".
    """
    x = tf.stop_gradient(full_precision(features))
    resolution = ROUNDING_ERRORS * np.finfo(x.dtype.as_numpy_dtype).eps
    # Features that differ by rounding only, as after a collapse to a point, count as equal.
    least = resolution**2 * tf.reduce_sum(tf.square(x))
    x -= tf.reduce_mean(x, axis=0)
    rows, width = x.shape
    wide = rows is not None and rows < width
    gram = exact_matmul(x, x, transpose_a=not wide, transpose_b=wide)
    # The decomposition fails on NaN, which the training loop reports.
    finite = tf.reduce_all(tf.math.is_finite(gram))
    squares = tf.linalg.eigvalsh(tf.where(finite, gram, tf.zeros_like(gram)))
    noise = tf.maximum(resolution * tf.reduce_max(squares), least)
    singular_values = tf.sqrt(tf.where(squares > noise, squares, tf.zeros_like(squares)))
    shares = tf.math.divide_no_nan(singular_values, tf.reduce_sum(singular_values))
    rank = tf.exp(-tf.reduce_sum(tf.math.xlogy(shares, shares)))
    return tf.where(finite, rank, tf.constant(float("nan"), rank.dtype))


def _unit(z: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.stop_gradient(full_precision(z)), axis=-1)
