"""NT-Xent against a memory bank: a momentum encoder's keys of this batch and of past ones."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat
from tf_simclrv2.objectives.contrastive import comparable_rows, contrast


def nt_xent_with_memory_bank(
    z: tf.Tensor,
    keys: tf.Tensor,
    queue: tf.Tensor,
    count: tf.Tensor | int,
    temperature: float = 0.1,
    hidden_norm: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes NT-Xent with keys from a momentum encoder, and past keys as further negatives.

    Use it where batches are too small for enough negatives. A query is contrasted with the momentum keys of
    the whole current batch, except the key of its own view, and with the filled part of the queue. As in
    `nt_xent`, both views are queries, the two directions are added and the rows averaged: if the keys equal z
    and the queue is empty, the two losses are equal. Gradients flow into z only.

    Args:
        z: [2n, D], this replica's online projections: all first views, then all second views.
        keys: [2n, D], the momentum projections of the same views in the same order, this replica's.
        queue: [K, D], past keys as `KeyQueue` keeps them: equal on every replica, and already normalized if
            `hidden_norm` is True.
        count: How many slots of the queue, from the first on, are filled.
        temperature: Softmax temperature τ, above 0.
        hidden_norm: Whether each row of `z` and `keys` is normalized to unit length first.

    Returns:
        The loss, logits and labels, as `nt_xent` returns them; the logits compare first views with the keys
        of second views.

    Example:
        >>> queue = KeyQueue(size=32, width=16)
        >>> loss, *_ = nt_xent_with_memory_bank(z, keys, queue.keys, queue.count)
        >>> queue.enqueue(keys)

    Reference: SimCLRv2 section 2, "memory mechanism", and appendix D; MoCo, arXiv 1911.05722.
    """
    z, keys = comparable_rows(z, hidden_norm), tf.stop_gradient(comparable_rows(keys, hidden_norm))
    past = tf.stop_gradient(tf.cast(queue, z.dtype))
    filled = tf.range(tf.shape(queue)[0]) < tf.cast(count, tf.int32)
    return contrast(z, keys, temperature, past, filled)


class KeyQueue(keras.layers.Layer):
    """Holds the most recent keys in a ring buffer that starts empty.

    Every replica holds the whole buffer: keys are gathered before they are written, so that all replicas
    write the same.

    Args:
        size: Number of slots K.
        width: Width D of a key.
        hidden_norm: Whether keys are stored at unit length, as the loss compares them.

    Attributes:
        keys: [K, D], float32 or wider.
        pointer: int64 scalar, the slot that is written next.
        count: int64 scalar, how many slots, from the first on, are filled.
    """

    def __init__(self, size: int, width: int, hidden_norm: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.hidden_norm = hidden_norm
        state = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        self.keys = self.add_weight(name="keys", shape=(size, width), initializer="zeros", **state)
        self.pointer = self.add_weight(name="pointer", shape=(), initializer="zeros", dtype="int64", **state)
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", dtype="int64", **state)
        self.built = True

    def enqueue(self, keys: tf.Tensor) -> None:
        """Writes the keys of all replicas over the oldest ones.

        First views come before second views, each in the order of the global batch, so that the contents do
        not depend on the number of replicas.

        Args:
            keys: [2n, D] on each replica: all first views, then all second views. All replicas together must
                not have more than `size` keys.
        """
        keys = comparable_rows(keys, self.hidden_norm)
        keys = tf.concat([cross_replica_concat(view) for view in tf.split(keys, 2)], axis=0)
        keys = tf.cast(keys, self.keys.dtype)
        rows = tf.shape(keys, out_type=tf.int64)[0]
        pointer = tf.convert_to_tensor(self.pointer)
        slots = (pointer + tf.range(rows)) % self.size
        updated = tf.tensor_scatter_nd_update(tf.convert_to_tensor(self.keys), slots[:, tf.newaxis], keys)
        self.keys.assign(updated)
        self.count.assign(tf.minimum(tf.convert_to_tensor(self.count) + rows, self.size))
        self.pointer.assign((pointer + rows) % self.size)
