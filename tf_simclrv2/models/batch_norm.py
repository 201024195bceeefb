"""Batch normalisation over the local batch or over all replicas, with an optional ReLU behind it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean, num_replicas
from tf_simclrv2.distribution.devices import on_cpu
from tf_simclrv2.models.compiled_batch_norm import batch_norm_relu
from tf_simclrv2.models.fused_batch_norm import fused_batch_norm, synchronised_batch_norm
from tf_simclrv2.precision import full_precision

EPSILON = 1e-5

# Of each thread, for every replica traces the step in one of its own.
_kept = threading.local()


@contextlib.contextmanager
def moving_statistics_kept() -> Iterator[None]:
    """Within it, batch norm in training mode uses the batch's statistics but moves none.

    For a forward pass that is made twice in one step.

    Example:
        >>> with moving_statistics_kept():
        ...     z = network(images, training=True)["proj_head_output"]
    """
    before = getattr(_kept, "active", False)
    _kept.active = True
    try:
        yield
    finally:
        _kept.active = before


def batch_moments(x: tf.Tensor, across_replicas: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and population variance of each channel.

    The variance is taken about the mean of all replicas, not as E[x²] - E[x]², which loses
    digits where the mean is large against the spread.

    Args:
        x: [..., C], float32 or float64.
        across_replicas: Over the global batch rather than this replica's part.

    Returns:
        Two tensors [C].
    """
    axes = list(range(x.shape.rank - 1))
    if not across_replicas:
        return tf.nn.moments(x, axes)
    mean = cross_replica_mean(tf.reduce_mean(x, axes))
    return mean, cross_replica_mean(tf.reduce_mean(tf.math.squared_difference(x, mean), axes))


@keras.saving.register_keras_serializable("tf_simclrv2")
class BatchNormRelu(keras.layers.Layer):
    """Batch normalisation, then ReLU if asked. Statistics are float32 or wider.

    A layer that is not trainable runs in inference mode, so its statistics stay as they are.

    Args:
        relu: Whether ReLU follows.
        init_zero: Start gamma at 0, so that a residual branch starts as the identity.
        center: Whether there is a beta.
        global_bn: Statistics over all replicas (SimCLR appendix B.9: local ones leak the answer).
        momentum: Weight of the old moving statistics.

    Call arguments:
        x: [..., C].
        training: Use the batch's statistics, and move the moving ones.
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
        self.moving_mean = weight("moving_mean", "zeros", trainable=False, aggregation="mean")
        self.moving_variance = weight("moving_variance", "ones", trainable=False, aggregation="mean")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        frozen = self.is_frozen(training)
        if not frozen and self._is_for_accelerators(x):
            return self._fused_by_compiler(x)
        if not frozen and self._has_kernel(x):
            y = self._by_kernel(x)
            return tf.nn.relu(y) if self.relu else y
        full = full_precision(x)
        if frozen:
            scale, offset = self.moving_scale_and_offset(full.dtype)
        else:
            mean, variance = batch_moments(full, self.global_bn)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
            scale, offset = self._scale_and_offset(mean, variance)
        y = tf.cast(full * scale + offset, x.dtype)
        return tf.nn.relu(y) if self.relu else y

    def is_frozen(self, training: bool) -> bool:
        """Whether the moving statistics are used, so that this is `moving_scale_and_offset`, then ReLU."""
        return not (training and self.trainable)

    def moving_scale_and_offset(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """What each channel is multiplied with in inference mode, and what is added, [C]."""
        return self._scale_and_offset(tf.cast(self.moving_mean, dtype), tf.cast(self.moving_variance, dtype))

    def _scale_and_offset(self, mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.math.rsqrt(variance + EPSILON) * tf.cast(self.gamma, mean.dtype)
        offset = -mean * scale
        return scale, offset if self.beta is None else offset + tf.cast(self.beta, mean.dtype)

    def _is_for_accelerators(self, x: tf.Tensor) -> bool:
        """Whether to use the ops for accelerators.

        Not in an exported module, whose batch is of no known size: their gradient does not travel with it.
        """
        return x.shape.is_fully_defined() and not on_cpu()

    def _fused_by_compiler(self, x: tf.Tensor) -> tf.Tensor:
        gamma, beta = self._gamma_and_beta()
        y, mean, variance = batch_norm_relu(x, gamma, beta, EPSILON, self.relu, not self._alone())
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return y

    def _gamma_and_beta(self) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = tf.convert_to_tensor(self.gamma)
        return gamma, tf.zeros_like(gamma) if self.beta is None else tf.convert_to_tensor(self.beta)

    def _has_kernel(self, x: tf.Tensor) -> bool:
        """The fused kernels know feature maps and no float64; over replicas, only those of a CPU will do."""
        return x.shape.rank == 4 and x.dtype != tf.float64 and (self._alone() or on_cpu())

    def _alone(self) -> bool:
        return not self.global_bn or num_replicas() == 1

    def _by_kernel(self, x: tf.Tensor) -> tf.Tensor:
        gamma, beta = self._gamma_and_beta()
        normalise = fused_batch_norm if self._alone() else synchronised_batch_norm
        y, mean, variance = normalise(x, gamma, beta, EPSILON)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return y

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        if getattr(_kept, "active", False):
            return
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
