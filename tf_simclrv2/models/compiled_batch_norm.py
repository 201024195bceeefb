"""Batch norm and ReLU for accelerators: plain ops that XLA fuses, with a gradient that reads little memory.

A training step on a GPU is bound by passes over feature maps. TensorFlow's own kernel needs another layout in
bfloat16, and its gradient reads the output of the ReLU that follows. Here

    x̂ = (x - μ) / √(σ² + ε),   y = max(γ x̂ + β, 0)

reads x once for the moments and once for y. Backward, the ReLU's mask is recomputed from x, so that with
g = dy · [γ x̂ + β > 0] and means over the batch

    dβ = Σ g,   dγ = Σ g x̂,   dx = γ / √(σ² + ε) · (g - mean(g) - x̂ · mean(g x̂))

reads dy and x twice and nothing else. Over several replicas the moments are exchanged once forward, and the
two sums once backward.

Reference: Ioffe & Szegedy 2015, arXiv 1502.03167.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat, cross_replica_mean
from tf_simclrv2.distribution.compilation import fused_on_gpu
from tf_simclrv2.precision import full_precision


class _Normalization(NamedTuple):
    """Holds what normalizes each channel, [C]: y = (x - mean) · inverse · γ + β."""

    mean: tf.Tensor
    inverse: tf.Tensor
    gamma: tf.Tensor
    beta: tf.Tensor


def batch_norm_relu(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, relu: bool, across_replicas: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalizes with the statistics of the batch, then applies ReLU if asked, in ops that XLA fuses.

    Args:
        x: [..., C], any float.
        gamma: [C], float32 or wider.
        beta: [C], of the dtype of `gamma`.
        epsilon: Added to the variance.
        relu: Whether ReLU follows.
        across_replicas: If True, statistics are those of the global batch rather than of this replica's part.

    Returns:
        The output, of the shape and dtype of `x`, and the mean and the population variance, [C]. No gradient
        flows through the last two.

    Example:
        >>> y, mean, variance = batch_norm_relu(x, tf.ones([64]), tf.zeros([64]), 1e-5, True, False)
    """
    y, mean, variance = _normalize_with_gradient(x, gamma, beta, epsilon, relu, across_replicas)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _normalize_with_gradient(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, relu: bool, across_replicas: bool
) -> tuple:
    @tf.custom_gradient
    def forward(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tuple, Callable]:
        mean, variance = _moments(x)
        if across_replicas:
            mean, variance = _global_moments(mean, variance)
        norm = _Normalization(mean, tf.math.rsqrt(variance + epsilon), gamma, beta)

        def backward(dy: tf.Tensor, *_of_moments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            sums = _sums(dy, x, norm, relu)
            means = sums * (gamma.shape[0] / x.shape.num_elements())
            means = cross_replica_mean(means) if across_replicas else means
            return _dx(dy, x, norm, means, relu), sums[1], sums[0]

        return (_apply(x, norm, relu), mean, variance), backward

    return forward(x, gamma, beta)


@fused_on_gpu
def _moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the mean and the population variance of each channel, in one pass.

    The values are taken relative to the first one of their channel: E[x²] - E[x]² would lose digits where the
    mean is large compared to the spread. That value is read from x rather than from x in float32: the TPU's
    compiler writes a conversion that two operations use to memory, as a map twice as large as x.
    """
    full, axes = full_precision(x), list(range(x.shape.rank - 1))
    origin = full_precision(tf.stop_gradient(x[(0,) * len(axes)]))
    centered = full - origin
    mean = tf.reduce_mean(centered, axes)
    variance = tf.reduce_mean(tf.square(centered), axes) - tf.square(mean)
    return origin + mean, tf.maximum(variance, 0.0)


def _global_moments(mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Combines the moments of all replicas, which hold equally many values (Chan et al. 1979)."""
    means, variances = tf.unstack(cross_replica_concat(tf.stack([mean, variance])[tf.newaxis]), axis=1)
    mean = tf.reduce_mean(means, axis=0)
    return mean, tf.reduce_mean(variances + tf.math.squared_difference(means, mean), axis=0)


@fused_on_gpu
def _apply(x: tf.Tensor, norm: _Normalization, relu: bool) -> tf.Tensor:
    y = (full_precision(x) - norm.mean) * norm.inverse * norm.gamma + norm.beta
    return tf.cast(tf.nn.relu(y) if relu else y, x.dtype)


@fused_on_gpu
def _sums(dy: tf.Tensor, x: tf.Tensor, norm: _Normalization, relu: bool) -> tf.Tensor:
    """Returns Σ g and Σ g x̂ of this replica's batch, [2, C]."""
    g, normalized = _mask_gradient(dy, x, norm, relu)
    axes = list(range(x.shape.rank - 1))
    return tf.stack([tf.reduce_sum(g, axes), tf.reduce_sum(g * normalized, axes)])


@fused_on_gpu
def _dx(dy: tf.Tensor, x: tf.Tensor, norm: _Normalization, means: tf.Tensor, relu: bool) -> tf.Tensor:
    g, normalized = _mask_gradient(dy, x, norm, relu)
    return tf.cast(norm.gamma * norm.inverse * (g - means[0] - normalized * means[1]), x.dtype)


def _mask_gradient(
    dy: tf.Tensor, x: tf.Tensor, norm: _Normalization, relu: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The masked gradient g, and x̂."""
    g, normalized = full_precision(dy), (full_precision(x) - norm.mean) * norm.inverse
    return tf.where(normalized * norm.gamma + norm.beta > 0, g, tf.zeros_like(g)) if relu else g, normalized
