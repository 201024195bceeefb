"""NT-Xent, the contrastive loss, and the metrics that are reported with it."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat, replica_id
from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.precision import full_precision

# Subtracted from the logit of a view with itself or with an empty slot of the memory bank; far beyond any
# cosine divided by a sensible temperature.
SELF_MASK = 1e9


def nt_xent(
    z: tf.Tensor, temperature: float = 0.1, hidden_norm: bool = True
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes NT-Xent, the normalized temperature-scaled cross entropy of two views.

    Each row is a query for its other view among all other rows of the global batch. Rows of other replicas
    are gathered, and gradients flow back through the gathering. The loss is the *sum* over the two directions
    (view 1 looks for view 2, and view 2 for view 1), averaged over the rows. That is twice equation 1 of the
    paper, as in the published code, to which the published learning rates belong. The mean of the losses over
    the replicas is the loss of the global batch.

    Args:
        z: Float [2n, D], this replica's projections: all first views, then all second views.
        temperature: Softmax temperature τ, above 0; 0.1 by default.
        hidden_norm: If True (the default), each row is first normalized to unit length.

    Returns:
        loss: Scalar, float32 or wider.
        logits: [n, N], first views against all N second views of the global batch.
        labels: [n, 2N], one-hot: the position of each first view's own second view among the N second views
            and, after them, the N first views.

    Example:
        >>> loss, logits, labels = nt_xent(tf.random.normal([8, 16]))
        >>> logits.shape, labels.shape
        (TensorShape([4, 4]), TensorShape([4, 8]))

    Reference: SimCLRv2 equation 1; SimCLR algorithm 1.
    """
    z = comparable_rows(z, hidden_norm)
    return contrast(z, z, temperature)


def comparable_rows(x: tf.Tensor, hidden_norm: bool) -> tf.Tensor:
    """Prepares projections for comparison, as the losses do.

    Args:
        x: Float [rows, D].
        hidden_norm: Whether each row is normalized to unit length.

    Returns:
        [rows, D], float32 or wider.
    """
    x = full_precision(x)
    return tf.math.l2_normalize(x, axis=-1) if hidden_norm else x


def contrast(
    queries: tf.Tensor,
    keys: tf.Tensor,
    temperature: float,
    past: tf.Tensor | None = None,
    filled: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Contrasts queries with keys: what `nt_xent` and `nt_xent_with_memory_bank` have in common.

    The candidates of a query are the keys of the global batch, except the key of the query's own view, and
    the past keys. Gradients flow into the keys as well.

    Args:
        queries: [2n, D], this replica's: all first views, then all second views.
        keys: [2n, D], of the same views in the same order; those of all replicas are gathered.
        temperature: Softmax temperature τ, above 0.
        past: [K, D], further negatives, equal on every replica; None for no further ones.
        filled: Bool [K], which of them are used; must be given with `past`.

    Returns:
        The loss, logits and labels, as `nt_xent` returns them.
    """
    query_1, query_2 = tf.split(queries, 2)
    key_1, key_2 = (cross_replica_concat(view) for view in tf.split(keys, 2))
    n, global_n = tf.shape(query_1)[0], tf.shape(key_1)[0]
    positives = tf.range(n) + replica_id() * n
    mask = tf.cast(SELF_MASK, queries.dtype)
    own_view = tf.one_hot(positives, global_n, on_value=mask, dtype=queries.dtype)

    def similarity(rows: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        return exact_matmul(rows, others, transpose_b=True) / temperature

    def cross_entropy(rows: tf.Tensor, other_view: tf.Tensor, same_view: tf.Tensor) -> tf.Tensor:
        candidates = [other_view, similarity(rows, same_view) - own_view]
        if past is not None:
            candidates.append(similarity(rows, past) - tf.where(filled, tf.zeros_like(mask), mask))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(positives, tf.concat(candidates, axis=1))

    logits = similarity(query_1, key_2)
    loss_1 = cross_entropy(query_1, logits, key_1)
    loss_2 = cross_entropy(query_2, similarity(query_2, key_1), key_2)
    return tf.reduce_mean(loss_1 + loss_2), logits, tf.one_hot(positives, 2 * global_n, dtype=queries.dtype)


def contrastive_accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Computes the share of first views whose own second view is the most similar one.

    Args:
        logits: [n, N] from `nt_xent`.
        labels: [n, 2N] from `nt_xent`.

    Returns:
        Scalar in [0, 1].
    """
    correct = tf.equal(tf.argmax(labels, axis=1), tf.argmax(logits, axis=1))
    return tf.reduce_mean(tf.cast(correct, logits.dtype))


def contrastive_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Computes the mean entropy, in nats, of the softmax over second views.

    It falls from ln N towards 0 as the network learns to tell images apart.

    Args:
        logits: [n, N] from `nt_xent`.

    Returns:
        Scalar in [0, ln N].
    """
    p = tf.nn.softmax(logits)
    return -tf.reduce_mean(tf.reduce_sum(p * tf.math.log(p + 1e-8), axis=1))
