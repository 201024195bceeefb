"""Three numbers by which a collapse of the representation is seen."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.precision import full_precision

UNIFORMITY_SCALE = 2.0


def alignment(z_1: tf.Tensor, z_2: tf.Tensor) -> tf.Tensor:
    """Mean squared distance of the two views of an image, on the unit sphere; 0 is perfect.

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
    """Log of the mean Gaussian potential of distinct pairs on the unit sphere; 0 is a collapse to a point.

    Args:
        z: [N, D], N at least 2.

    Returns:
        Scalar in [-8, 0], without a gradient.

    Reference: Wang & Isola 2020, arXiv 2005.10242, with t = 2.
    """
    z = _unit(z)
    squared_distances = 2.0 - 2.0 * tf.matmul(z, z, transpose_b=True)
    potentials = tf.exp(-UNIFORMITY_SCALE * squared_distances)
    n = tf.cast(tf.shape(z)[0], z.dtype)
    # Each row's potential with itself is 1.
    return tf.math.log((tf.reduce_sum(potentials) - n) / (n * (n - 1.0)))


def effective_rank(features: tf.Tensor) -> tf.Tensor:
    """Exp of the entropy of the normalised singular values of the centred features.

    Between 1 (all on a line, or one point) and min(N - 1, D).

    Args:
        features: [N, D].

    Returns:
        Scalar, without a gradient.

    Reference: Roy & Vetterli 2007, "The effective rank".
    """
    x = tf.stop_gradient(full_precision(features))
    x -= tf.reduce_mean(x, axis=0)
    wide = x.shape[1] > (x.shape[0] or 0)
    gram = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)
    singular_values = tf.sqrt(tf.maximum(tf.linalg.eigvalsh(gram), 0.0))
    shares = tf.math.divide_no_nan(singular_values, tf.reduce_sum(singular_values))
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(shares, shares)))


def _unit(z: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.stop_gradient(full_precision(z)), axis=-1)
