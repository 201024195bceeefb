"""Concatenates and averages tensors over replicas, which is all that the method exchanges."""

from __future__ import annotations

import tensorflow as tf


def num_replicas() -> int:
    """Returns the number of replicas in sync; 1 outside any strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> tf.Tensor | int:
    """Returns the index of this replica; 0 outside a replica context."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None or num_replicas() == 1 else context.replica_id_in_sync_group


def cross_replica_concat(x: tf.Tensor) -> tf.Tensor:
    """Concatenates a tensor of every replica along axis 0, in replica order.

    Each replica writes its rows into a zero tensor of all rows, and these are summed. The gradient of the sum
    is a sum too, so every replica receives the gradients of all replicas' losses with respect to its rows.
    Shapes stay static, as TPUs require.

    Args:
        x: [n, ...], the same static shape on every replica.

    Returns:
        [n · replicas, ...], the same on every replica; `x` itself if there is only one.

    Example:
        >>> cross_replica_concat(tf.ones([2, 3])).shape
        TensorShape([2, 3])
    """
    replicas = num_replicas()
    context = tf.distribute.get_replica_context()
    if replicas == 1 or context is None:
        return x
    if x.dtype == tf.int64:  # A TPU sums 32 bits at most, and all but one of the summands are 0.
        return tf.bitcast(cross_replica_concat(tf.bitcast(x, tf.int32)), tf.int64)
    mine = tf.one_hot(context.replica_id_in_sync_group, replicas, dtype=x.dtype)
    slots = tf.reshape(mine, [replicas] + [1] * x.shape.rank) * x[tf.newaxis]
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, slots)
    return tf.reshape(summed, tf.concat([[-1], tf.shape(x)[1:]], axis=0))


def cross_replica_mean(x: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over the replicas; `x` itself if there is only one."""
    context = tf.distribute.get_replica_context()
    if num_replicas() == 1 or context is None:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)
