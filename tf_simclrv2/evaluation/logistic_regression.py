"""Multinomial logistic regression on the device, for several strengths of the L2 penalty in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.evaluation.device_rows import DeviceRows, blocks_on_host, compute_dtype
from tf_simclrv2.evaluation.lbfgs import minimize_together
from tf_simclrv2.progress import Progress, Say

# Largest component of the gradient of the mean loss at the end: scikit-learn's default.
TOLERANCE = 1e-4
MAX_ITERATIONS = 500
# Numbers in the largest tensor of a block: its rows, or their logits under every strength.
BLOCK = 2**24


class Standardization(NamedTuple):
    """What makes each column's mean 0 and its deviation 1: mean and scale, float64 [D]."""

    mean: np.ndarray
    scale: np.ndarray

    def on_device(self, dtype: tf.DType) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the function that standardizes rows [n, D] of a dtype."""
        mean, scale = tf.constant(self.mean, dtype), tf.constant(self.scale, dtype)
        return lambda rows: (rows - mean) / scale


@dataclasses.dataclass(frozen=True)
class LogisticRegressions:
    """Linear classifiers of standardized rows, fitted with S strengths.

    Attributes:
        weights: [S, D + 1, C]; the last of D + 1 holds the biases.
        standardization: Is applied to rows first.
    """

    weights: tf.Tensor
    standardization: Standardization

    def predict(self, features: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Returns the class of each row under each strength, int [S, n].

        Args:
            features: [N, D].
            chosen: int [n], the rows to classify; None for all.
        """
        strengths, width, classes = self.weights.shape
        dtype, flat = self.weights.dtype, tf.reshape(self.weights, [strengths, -1])
        standardize = self.standardization.on_device(dtype)
        blocks = blocks_on_host(features, _block(width, strengths * classes), chosen)
        found = [_classes(standardize(tf.cast(block, dtype)), flat).numpy() for block in blocks]
        return np.concatenate(found, axis=1)


def fit_logistic_regressions(
    features: np.ndarray,
    labels: np.ndarray,
    strengths: Sequence[float],
    chosen: np.ndarray | None = None,
    start: tf.Tensor | None = None,
    say: Say | None = None,
) -> LogisticRegressions:
    """Fits a classifier for each strength; every pass over the rows serves all of them.

    With n rows, standardized to x, and a strength c, a classifier minimizes

        1/n · Σ -log softmax(W x + b)[label] + 1/(2 c n) · ‖W‖²

    as scikit-learn's `LogisticRegression(C=c)` does for three classes and more. (For two classes that one has
    a single weight vector, and C = 2c gives the same model.)

    Args:
        features: [N, D].
        labels: int [N], from 0 to C - 1.
        strengths: Inverse strengths c of the penalty, S numbers above 0.
        chosen: int [n], the rows to fit to; None for all.
        start: [S, D + 1, C], weights to start from; zeros by default.
        say: Receives progress lines; None shows nothing.

    Returns:
        The classifiers, in float64 if the features are, else in float32.
    """
    standardization = _standardization(features, chosen)
    objective = _MeanLoss(features, labels, chosen, strengths, standardization)
    shape = (len(strengths), features.shape[1] + 1, objective.classes)
    first = tf.zeros(shape, objective.rows.dtype) if start is None else start
    flat = tf.reshape(first, [shape[0], -1])
    if say is None:
        found = minimize_together(objective, flat, TOLERANCE, MAX_ITERATIONS)
    else:
        with Progress("linear probe, iteration", MAX_ITERATIONS, say) as progress:
            found = minimize_together(objective, flat, TOLERANCE, MAX_ITERATIONS, progress.advance)
    return LogisticRegressions(tf.reshape(found, shape), standardization)


class _MeanLoss:
    """The penalized mean loss of some of the strengths, and its gradient."""

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        chosen: np.ndarray | None,
        strengths: Sequence[float],
        standardization: Standardization,
    ) -> None:
        self.classes = int(labels.max()) + 1
        size = _block(features.shape[1], len(strengths) * self.classes)
        standardize = standardization.on_device(compute_dtype(features))
        self.rows = DeviceRows(features, size, chosen, standardize)
        labels = labels if chosen is None else labels[chosen]
        self._labels = [tf.constant(block, tf.int32) for block in blocks_on_host(labels, size)]
        self._penalties = 1.0 / (np.asarray(strengths) * len(self.rows))
        self._count, self._biases = tf.constant(len(self.rows), tf.float64), tf.constant(self.classes)

    def __call__(self, flat: tf.Tensor, which: np.ndarray) -> tuple[np.ndarray, tf.Tensor]:
        # The losses of many rows are added in float64: the line search compares their sums.
        loss, gradient = tf.zeros([len(which)], tf.float64), tf.zeros_like(flat)
        for block, labels in zip(self.rows, self._labels, strict=True):
            loss, gradient = _with_losses(block, labels, flat, loss, gradient)
        penalties = tf.constant(self._penalties[which])
        loss, gradient = _mean_with_penalty(loss, gradient, flat, self._count, penalties, self._biases)
        return loss.numpy(), gradient


@tf.function(autograph=False, reduce_retracing=True)
def _with_losses(
    rows: tf.Tensor, labels: tf.Tensor, flat: tf.Tensor, loss: tf.Tensor, gradient: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds the losses of some rows, float64 [S], and their gradients [S, (D + 1) · C]."""
    strengths, width = tf.shape(flat)[0], tf.shape(rows)[1]
    weights = _by_strength(flat, width)
    classes = tf.shape(weights)[2]
    losses, residuals = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
        features=tf.reshape(_logits(rows, weights), [-1, classes]), labels=tf.repeat(labels, strengths)
    )
    loss += tf.reduce_sum(tf.cast(tf.reshape(losses, [-1, strengths]), tf.float64), axis=0)
    residuals = tf.reshape(residuals, [-1, strengths * classes])
    of_weights = exact_matmul(rows, residuals, transpose_a=True)
    both = tf.concat([of_weights, tf.reduce_sum(residuals, axis=0, keepdims=True)], axis=0)
    both = tf.transpose(tf.reshape(both, [width + 1, strengths, classes]), [1, 0, 2])
    return loss, gradient + tf.reshape(both, [strengths, -1])


@tf.function(autograph=False, reduce_retracing=True)
def _classes(rows: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    weights = _by_strength(flat, tf.shape(rows)[1])
    logits = tf.reshape(_logits(rows, weights), [-1, *tf.unstack(tf.shape(weights)[1:])])
    return tf.transpose(tf.argmax(logits, axis=2))


def _by_strength(flat: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns weights [S, (D + 1) · C] as [D + 1, S, C]."""
    return tf.transpose(tf.reshape(flat, [tf.shape(flat)[0], width + 1, -1]), [1, 0, 2])


def _logits(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns [n, S · C]."""
    side_by_side = tf.reshape(weights, [tf.shape(weights)[0], -1])
    return exact_matmul(rows, side_by_side[:-1]) + side_by_side[-1]


@tf.function(autograph=False, reduce_retracing=True)
def _mean_with_penalty(
    loss: tf.Tensor,
    gradient: tf.Tensor,
    flat: tf.Tensor,
    count: tf.Tensor,
    penalties: tf.Tensor,
    biases: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Divides sums by the number of rows, and adds the penalty of all but the last weights, the biases."""
    penalized = tf.shape(flat)[1] - biases
    squares = tf.reduce_sum(tf.square(tf.cast(flat[:, :penalized], tf.float64)), axis=1)
    of_weights = tf.cast(penalties, flat.dtype)[:, tf.newaxis] * flat[:, :penalized]
    of_penalty = tf.pad(of_weights, [[0, 0], [0, biases]])
    return loss / count + 0.5 * penalties * squares, gradient / tf.cast(count, flat.dtype) + of_penalty


def _standardization(features: np.ndarray, chosen: np.ndarray | None) -> Standardization:
    """Computes mean and standard deviation of each column in float64, in two passes on the host.

    The deviation of a column that is constant, but for rounding, is given as 1.
    """
    count, width = len(features if chosen is None else chosen), features.shape[1]

    def mean_of(of_block: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total = np.zeros(width)
        for block in blocks_on_host(features, _block(width, 1), chosen):
            total += of_block(block.astype(np.float64)).sum(axis=0)
        return total / count

    mean = mean_of(lambda block: block)
    variance = mean_of(lambda block: (block - mean) ** 2)
    epsilon = np.finfo(np.float64).eps
    constant = variance <= count * epsilon * variance + (count * epsilon * mean) ** 2
    return Standardization(mean, np.where(constant, 1.0, np.sqrt(variance)))


def _block(width: int, logits: int) -> int:
    return max(1, BLOCK // max(width, logits))
