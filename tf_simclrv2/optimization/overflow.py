"""Loss scaling over several replicas: a step that overflows on one of them is skipped on all of them."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean, num_replicas


def overflow_together(
    gradients: list[tf.Tensor | None], optimizer: keras.optimizers.Optimizer
) -> list[tf.Tensor | None]:
    """Turns an overflow on any replica into one on every replica, for an optimizer that scales the loss.

    Keras's `LossScaleOptimizer` skips a step, and lowers its scale, if the gradients of the *first* replica
    are not finite. It does not check the other replicas, whose infinities would be added to the weights.

    Args:
        gradients: This replica's gradients, not yet summed over the replicas; None for a variable without
            one.
        optimizer: The optimizer that will apply them.

    Returns:
        The gradients. If any replica has one that is not finite, the first gradient is infinite on every
        replica. Without loss scaling, or on a single replica, they are returned unchanged.

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
