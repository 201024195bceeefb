"""NT-Xent against a memory: keys of a momentum encoder, of this batch and of past ones."""

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
    """NT-Xent whose keys come from the momentum encoder, with past keys as further negatives.

    A query is contrasted with the momentum keys of the whole current batch, but its own view's, and with the
    filled part of the queue. As in `nt_xent` both views ask, the two directions are added and rows averaged,
    so with keys equal to z and an empty queue the two losses are equal. Gradients reach z only.

    Args:
        z: [2n, D], this replica's online projections: all first views, then all second views.
        keys: [2n, D], the momentum projections of the same views in the same order, this replica's.
        queue: [K, D], past keys as `KeyQueue` keeps them, normalised already if `hidden_norm`, equal on
            every replica.
        count: How many slots of the queue, from the front, are filled.
        temperature: Softmax temperature τ.
        hidden_norm: Normalise each row to unit length first.

    Returns:
        loss, logits and labels as from `nt_xent`; logits are of first views against the second views' keys.

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
    """The last keys, a ring that starts empty.

    Every replica holds all of it: what is written is gathered first, so that all write the same.

    Args:
        size: Slots K.
        width: Width D of a key.
        hidden_norm: Keep keys at unit length, as the loss compares them.

    Attributes:
        keys: [K, D], float32 or wider.
        pointer: int64, the slot that is written next.
        count: int64, how many slots, from the front, are filled.
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
        """Writes this replica's keys, and all others', over the oldest ones.

        First views come before second ones and examples in the order of the global batch, so that the ring
        is the same whatever the number of replicas.

        Args:
            keys: [2n, D] on each replica, all first views, then all second ones; those of all replicas
                together must not exceed the size.
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
