"""NT-Xent, the contrastive loss, and what is reported beside it."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.distribution import cross_replica_concat, replica_id
from tf_simclrv2.precision import full_precision

# Subtracted from the logit of a row with itself; far beyond any cosine over a sensible temperature.
SELF_MASK = 1e9


def nt_xent(
    z: tf.Tensor, temperature: float = 0.1, hidden_norm: bool = True
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The normalised temperature-scaled cross entropy of two views.

    Each row is a query for its other view among all other rows of the global batch. Rows of other
    replicas are gathered, and gradients flow back through the gathering. The loss is the *sum* over
    the two directions (view 1 asks for view 2 and back), averaged over the rows, so twice equation 1
    of the paper; that is what the published learning rates belong to. Over replicas the mean of the
    losses is the loss of the global batch.

    Args:
        z: [2n, D], this replica's projections: all first views, then all second views.
        temperature: Softmax temperature τ.
        hidden_norm: Normalise each row to unit length first.

    Returns:
        loss: Scalar, float32 or wider.
        logits: [n, N], first views against all N second views of the global batch.
        labels: [n, 2N], one-hot: each first view's own second view, among the N second and the N
            first views.

    Example:
        >>> loss, logits, labels = nt_xent(tf.random.normal([8, 16]))
        >>> logits.shape, labels.shape
        (TensorShape([4, 4]), TensorShape([4, 8]))

    Reference: SimCLRv2 equation 1; SimCLR algorithm 1.
    """
    z = full_precision(z)
    if hidden_norm:
        z = tf.math.l2_normalize(z, axis=-1)
    local_1, local_2 = tf.split(z, 2)
    all_1, all_2 = cross_replica_concat(local_1), cross_replica_concat(local_2)
    n, global_n = tf.shape(local_1)[0], tf.shape(all_1)[0]
    positives = tf.range(n) + replica_id() * n
    self_mask = tf.one_hot(positives, global_n, on_value=tf.cast(SELF_MASK, z.dtype), dtype=z.dtype)

    def similarity(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(queries, keys, transpose_b=True) / temperature

    def cross_entropy(other_view: tf.Tensor, same_view: tf.Tensor) -> tf.Tensor:
        logits = tf.concat([other_view, same_view - self_mask], axis=1)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(positives, logits)

    logits = similarity(local_1, all_2)
    loss_1 = cross_entropy(logits, similarity(local_1, all_1))
    loss_2 = cross_entropy(similarity(local_2, all_1), similarity(local_2, all_2))
    return tf.reduce_mean(loss_1 + loss_2), logits, tf.one_hot(positives, 2 * global_n, dtype=z.dtype)


def contrastive_accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Share of first views whose own second view is the most similar one.

    Args:
        logits: [n, N] from `nt_xent`.
        labels: [n, 2N] from `nt_xent`.

    Returns:
        Scalar in [0, 1].
    """
    correct = tf.equal(tf.argmax(labels, axis=1), tf.argmax(logits, axis=1))
    return tf.reduce_mean(tf.cast(correct, logits.dtype))


def contrastive_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Mean entropy, in nats, of the softmax over second views.

    Args:
        logits: [n, N] from `nt_xent`.

    Returns:
        Scalar in [0, ln N].
    """
    p = tf.nn.softmax(logits)
    return -tf.reduce_mean(tf.reduce_sum(p * tf.math.log(p + 1e-8), axis=1))
