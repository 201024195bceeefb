"""Batch norm with TensorFlow's fused kernels: over the local batch and, on CPUs, over the global batch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean
from tf_simclrv2.precision import full_precision


def fused_batch_norm(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalizes with the statistics of this replica's batch.

    Args:
        x: [N, H, W, C], float32 or half precision.
        gamma: [C], float32.
        beta: [C], float32.
        epsilon: Added to the variance.

    Returns:
        γ (x - μ) / √(σ² + ε) + β, of the shape and dtype of `x`; the mean and the population variance, [C].
    """
    empty = tf.zeros([0], gamma.dtype)
    y, mean, sample_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    values = _values(x, mean)
    return y, mean, sample_variance * (values - 1.0) / values  # The kernel's has n - 1 below.


def synchronized_batch_norm(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalizes with the statistics of the global batch.

    Replicas hold equally many values per channel. The global mean is therefore the mean of their means μᵣ,
    and the variance is the mean of σᵣ² + (μᵣ - μ)² (Chan et al. 1979): the moments that a fused kernel gives
    on each replica are enough. Backward, the kernel sums over one replica only. What the sums of the others
    add to the gradient is, for each channel, a multiple of x̂ and a constant.

    Args:
        x: [N, H, W, C], float32 or half precision.
        gamma: [C], float32.
        beta: [C], float32.
        epsilon: Added to the variance.

    Returns:
        The same as `fused_batch_norm`. No gradient flows through the mean and the variance.
    """
    normalized, mean, variance = _normalize(x, gamma, beta, epsilon)
    return normalized, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple:
    @tf.custom_gradient
    def forward(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tuple, Callable]:
        mean, variance = _global_moments(x, epsilon)
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )

        def backward(dy: tf.Tensor, *_of_moments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=dy,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros([0], mean.dtype),
                epsilon=epsilon,
                is_training=True,
            )
            excess_dgamma = dgamma - cross_replica_mean(dgamma)
            excess_dbeta = dbeta - cross_replica_mean(dbeta)
            inverse = tf.math.rsqrt(variance + epsilon)
            scale = gamma * inverse / _values(x, mean)
            slope = scale * inverse * excess_dgamma
            others = full_precision(x) * slope + (scale * excess_dbeta - slope * mean)
            return dx + tf.cast(others, dx.dtype), dgamma, dbeta

        return (y, mean, variance), backward

    return forward(x, gamma, beta)


def _global_moments(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    ones = tf.ones([x.shape[-1]])
    _, own_mean, own_variance = fused_batch_norm(x, ones, ones, epsilon)
    mean = cross_replica_mean(own_mean)
    return mean, cross_replica_mean(own_variance + tf.math.squared_difference(own_mean, mean))


def _values(x: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(x) // tf.size(channels), channels.dtype)
