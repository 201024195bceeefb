"""Softmax cross entropy against class labels."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.precision import full_precision


def supervised_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross entropy; rows without a label cost nothing.

    Args:
        logits: [N, classes].
        labels: int [N]; negative labels are ignored.

    Returns:
        Scalar, float32 or wider.
    """
    some_label = tf.maximum(labels, tf.zeros([], labels.dtype))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(some_label, full_precision(logits))
    return tf.reduce_mean(tf.where(labels >= 0, losses, tf.zeros_like(losses)))


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Share of the labelled rows whose label has the highest logit.

    Args:
        logits: [N, classes].
        labels: int [N]; negative ones are none.

    Returns:
        Scalar float32; 0 without a label.
    """
    labeled = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(top_k_correct(logits, labels, 1)), labeled)


def labeled_share(labels: tf.Tensor) -> tf.Tensor:
    """Share of the rows that have a label: what an `accuracy` counts in a mean over batches.

    Args:
        labels: int [N]; negative ones are none.

    Returns:
        Scalar float32.
    """
    return tf.reduce_mean(tf.cast(labels >= 0, tf.float32))


def top_k_correct(logits: tf.Tensor, labels: tf.Tensor, k: int) -> tf.Tensor:
    """Which rows have their label among the k highest logits.

    Args:
        logits: [N, classes].
        labels: int [N]; negative ones are never correct.
        k: How many; more than there are classes counts as all.

    Returns:
        float32 [N] of 0 and 1.
    """
    k = min(k, logits.shape[-1])
    best = tf.math.top_k(full_precision(logits), k).indices
    hits = tf.equal(tf.cast(best, labels.dtype), labels[:, tf.newaxis])
    return tf.cast(tf.reduce_any(hits, axis=1), tf.float32)
