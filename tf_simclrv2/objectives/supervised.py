"""Softmax cross entropy against class labels."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.precision import full_precision


def supervised_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Computes the mean cross entropy; rows without a label count as a loss of 0.

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
    """Computes the share of labeled rows whose label has the highest logit.

    Args:
        logits: [N, classes].
        labels: int [N]; negative labels are ignored.

    Returns:
        Scalar float32 in [0, 1]; 0 if no row has a label.
    """
    labeled = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(top_k_correct(logits, labels, 1)), labeled)


def labeled_share(labels: tf.Tensor) -> tf.Tensor:
    """Computes the share of rows that have a label: the weight of an `accuracy` in a mean over batches.

    Args:
        labels: int [N]; negative labels are ignored.

    Returns:
        Scalar float32 in [0, 1].
    """
    return tf.reduce_mean(tf.cast(labels >= 0, tf.float32))


def top_k_correct(logits: tf.Tensor, labels: tf.Tensor, k: int) -> tf.Tensor:
    """Finds the rows whose label is among the k highest logits.

    Args:
        logits: [N, classes].
        labels: int [N]; negative labels are never correct.
        k: How many logits; a number above the number of classes means all.

    Returns:
        float32 [N] of 0 and 1.
    """
    k = min(k, logits.shape[-1])
    best = tf.math.top_k(full_precision(logits), k).indices
    hits = tf.equal(tf.cast(best, labels.dtype), labels[:, tf.newaxis])
    return tf.cast(tf.reduce_any(hits, axis=1), tf.float32)
