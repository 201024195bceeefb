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
    return tf.reduce_mean(supervised_losses(logits, labels))


def supervised_losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Computes the cross entropy of each row; it is 0 for rows without a label.

    Args:
        logits: [N, classes].
        labels: int [N]; negative labels are ignored.

    Returns:
        [N], float32 or wider.
    """
    some_label = tf.maximum(labels, tf.zeros([], labels.dtype))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(some_label, full_precision(logits))
    return tf.where(labels >= 0, losses, tf.zeros_like(losses))


def curvature_bound(features: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Bounds the curvature of `supervised_loss` as a function of a linear classifier's kernel and bias.

    Let x be the features of a row with a 1 for the bias, and p the softmax of its logits. The second
    derivative of the row's loss is (diag(p) - ppᵀ) ⊗ xxᵀ, whose largest eigenvalue is at most
    min(max p, ½) · ‖x‖². One over the bound is the natural step of gradient descent, whatever the features.
    A row without a label has no loss, and no curvature.

    Args:
        features: Input of the classifier, [N, D].
        logits: Its output, [N, classes].
        labels: int [N]; negative labels are ignored.

    Returns:
        Scalar, float32 or wider: the mean over the rows, above 0 if any has a label.

    Reference: Böhning 1992, Multinomial logistic regression algorithm, for the bound ½.
    """
    squared_norm = 1.0 + tf.reduce_sum(tf.square(full_precision(features)), axis=1)
    likeliest = tf.reduce_max(tf.nn.softmax(full_precision(logits)), axis=1)
    bounds = tf.minimum(likeliest, 0.5) * squared_norm
    return tf.reduce_mean(tf.where(labels >= 0, bounds, tf.zeros_like(bounds)))


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
