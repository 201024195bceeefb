"""Batch normalization over the local batch or over all replicas, optionally followed by ReLU."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.distribution.collectives import cross_replica_mean, num_replicas
from tf_simclrv2.models.compiled_batch_norm import batch_norm_relu
from tf_simclrv2.models.fused_batch_norm import fused_batch_norm, synchronized_batch_norm
from tf_simclrv2.precision import full_precision

EPSILON = 1e-5


def batch_moments(x: tf.Tensor, across_replicas: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the mean and the population variance of each channel.

    The variance is taken about the mean of all replicas. The one-pass formula E[x²] - E[x]² would lose digits
    where the mean is large compared to the spread.

    Args:
        x: [..., C], float32 or float64.
        across_replicas: If True, the moments are those of the global batch rather than of this replica's
            part.

    Returns:
        Mean and variance, two tensors [C] of the dtype of `x`.
    """
    axes = list(range(x.shape.rank - 1))
    if not across_replicas:
        return tf.nn.moments(x, axes)
    mean = cross_replica_mean(tf.reduce_mean(x, axes))
    return mean, cross_replica_mean(tf.reduce_mean(tf.math.squared_difference(x, mean), axes))


@keras.saving.register_keras_serializable("tf_simclrv2")
class BatchNormRelu(keras.layers.Layer):
    """Applies batch normalization, then ReLU if asked.

    Statistics are computed in float32 or wider under every precision. Unlike
    `keras.layers.BatchNormalization` the layer includes the ReLU, so that both can be computed in one pass. A
    layer whose `trainable` is False runs in inference mode, and its moving statistics stay as they are.

    Args:
        relu: Whether ReLU follows.
        init_zero: If True, gamma starts at 0 instead of 1, so that a residual branch starts as the identity.
        center: Whether there is a beta.
        global_bn: If True, statistics are computed over all replicas; if False, each replica uses its own
            (SimCLR appendix B.9: local statistics leak the answer).
        momentum: Weight of the old moving statistics, in [0, 1).

    Call arguments:
        x: Float [..., C].
        training: Normalize with the batch's statistics, and move the moving ones towards them.
        update_statistics: If False, training mode does not move the moving statistics: for a forward pass
            that a step makes twice.
    """

    def __init__(
        self,
        relu: bool = True,
        init_zero: bool = False,
        center: bool = True,
        global_bn: bool = True,
        momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.relu = relu
        self.init_zero = init_zero
        self.center = center
        self.global_bn = global_bn
        self.momentum = momentum

    def build(self, input_shape: tuple) -> None:
        shape = (input_shape[-1],)

        def weight(name: str, initializer: str, **options: Any) -> keras.Variable:
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False, **options)

        self.gamma = weight("gamma", "zeros" if self.init_zero else "ones")
        self.beta = weight("beta", "zeros") if self.center else None
        if self.global_bn:
            self.moving_mean = self._global_statistic("moving_mean", "zeros", shape)
            self.moving_variance = self._global_statistic("moving_variance", "ones", shape)
        else:
            self.moving_mean = weight("moving_mean", "zeros", trainable=False, aggregation="mean")
            self.moving_variance = weight("moving_variance", "ones", trainable=False, aggregation="mean")

    def _global_statistic(self, name: str, initializer: str, shape: tuple[int, ...]) -> keras.Variable:
        """Makes a variable that replicas assign without an exchange, because they all assign the same value.

        `add_weight` cannot do this: it has no `synchronization`.
        """
        return keras.Variable(
            initializer,
            shape=shape,
            dtype=self.variable_dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            synchronization="on_read",
            name=name,
        )

    def call(self, x: tf.Tensor, training: bool = False, update_statistics: bool = True) -> tf.Tensor:
        if self.is_frozen(training):
            full = full_precision(x)
            scale, offset = self.moving_scale_and_offset(full.dtype)
            return self._activate(tf.cast(full * scale + offset, x.dtype))
        y, mean, variance = self._normalize(x)
        if update_statistics:
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        return y

    def is_frozen(self, training: bool) -> bool:
        """Returns whether the layer normalizes with its moving statistics."""
        return not (training and self.trainable)

    def moving_scale_and_offset(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the factor and the offset of each channel in inference mode, two tensors [C] of `dtype`."""
        return self._scale_and_offset(tf.cast(self.moving_mean, dtype), tf.cast(self.moving_variance, dtype))

    def _scale_and_offset(self, mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.math.rsqrt(variance + EPSILON) * tf.cast(self.gamma, mean.dtype)
        offset = -mean * scale
        return scale, offset if self.beta is None else offset + tf.cast(self.beta, mean.dtype)

    def _normalize(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the output in training mode, and the batch's mean and variance, using the fastest ops."""
        if self._is_for_accelerators(x):
            return batch_norm_relu(x, *self._gamma_and_beta(), EPSILON, self.relu, not self._is_local())
        if self._has_kernel(x):
            normalize = fused_batch_norm if self._is_local() else synchronized_batch_norm
            y, mean, variance = normalize(x, *self._gamma_and_beta(), EPSILON)
        else:
            full = full_precision(x)
            mean, variance = batch_moments(full, self.global_bn)
            scale, offset = self._scale_and_offset(mean, variance)
            y = tf.cast(full * scale + offset, x.dtype)
        return self._activate(y), mean, variance

    def _is_for_accelerators(self, x: tf.Tensor) -> bool:
        """Returns whether to use the ops for accelerators.

        An exported module, whose batch size is unknown, does not: it cannot carry a gradient of our own.
        """
        return x.shape.is_fully_defined() and not devices.on_cpu()

    def _has_kernel(self, x: tf.Tensor) -> bool:
        """Returns whether a fused kernel takes this input.

        They take feature maps, but not in float64; over several replicas only a CPU's do.
        """
        return x.shape.rank == 4 and x.dtype != tf.float64 and (self._is_local() or devices.on_cpu())

    def _is_local(self) -> bool:
        return not self.global_bn or num_replicas() == 1

    def _gamma_and_beta(self) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = tf.convert_to_tensor(self.gamma)
        return gamma, tf.zeros_like(gamma) if self.beta is None else tf.convert_to_tensor(self.beta)

    def _activate(self, y: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(y) if self.relu else y

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        value = tf.cast(tf.stop_gradient(value), average.dtype)
        average.assign(average * self.momentum + value * (1.0 - self.momentum))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {
            "relu": self.relu,
            "init_zero": self.init_zero,
            "center": self.center,
            "global_bn": self.global_bn,
            "momentum": self.momentum,
        }
        return {**super().get_config(), **config}
