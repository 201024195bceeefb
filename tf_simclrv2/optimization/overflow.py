"""Loss scaling over several replicas: a step that overflows on one of them is skipped on all."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean, num_replicas


def overflow_together(
    gradients: list[tf.Tensor | None], optimizer: keras.optimizers.Optimizer
) -> list[tf.Tensor | None]:
    """Makes an overflow on any replica one on every replica, for an optimizer that scales the loss.

    Keras's `LossScaleOptimizer` skips a step, and lowers its scale, where the gradients of the *first*
    replica are not finite. It does not look at the others', which would be added to the weights.

    Args:
        gradients: This replica's, not yet summed over the replicas; None where a variable has none.
        optimizer: What they will be applied by.

    Returns:
        The gradients; the first of them infinite where any replica has one that is not finite. Without loss
        scaling, or on a single replica, they are returned as they are.

    Example:
        >>> optimizer.apply(overflow_together(gradients, optimizer), variables)
    """
    if num_replicas() == 1 or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return gradients
    known = [i for i, gradient in enumerate(gradients) if gradient is not None]
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradients[i])) for i in known])
    failed = cross_replica_mean(tf.where(finite, 0.0, 1.0)) > 0.0
    together, first = list(gradients), known[0]
    together[first] = tf.where(failed, tf.constant(float("inf"), gradients[first].dtype), gradients[first])
    return together
