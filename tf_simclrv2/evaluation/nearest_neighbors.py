"""Weighted nearest neighbors on frozen features: an evaluation without any training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.evaluation.device_rows import blocks_on_host, compute_dtype

# Customary since Wu et al. 2018.
NEIGHBORS = (20, 200)
TEMPERATURE = 0.07
# Numbers that are on the device at once: of test rows, of training rows, and of their similarities.
TEST_BLOCK = 2**27
TRAIN_BLOCK = 2**23
BLOCK = 2**25


class Neighbors(NamedTuple):
    """The most similar training rows of M test rows, the most similar first.

    Attributes:
        similarity: Float [M, k], cosines.
        index: int32 [M, k], training rows.
    """

    similarity: np.ndarray
    index: np.ndarray


def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    k: int,
    temperature: float = TEMPERATURE,
) -> float:
    """Computes the top-1 accuracy of `knn_votes`.

    Args:
        train_features: [N, D].
        train_labels: int [N].
        test_features: [M, D].
        test_labels: int [M].
        k: Number of neighbors; N if it is larger than N.
        temperature: τ, above 0.

    Returns:
        Accuracy in [0, 1].
    """
    votes = knn_votes(train_features, train_labels, test_features, k, temperature)
    return float(np.mean(votes == test_labels))


def knn_accuracies(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    ks: Sequence[int],
) -> list[float]:
    """Computes `knn_accuracy` for several k, with one search."""
    found = nearest_rows(train_features, test_features, max(ks))
    return [float(np.mean(vote(found, train_labels, k) == test_labels)) for k in ks]


def knn_votes(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    k: int,
    temperature: float = TEMPERATURE,
    own_rows: np.ndarray | None = None,
) -> np.ndarray:
    """Predicts the class of each test row by a vote of the k most similar training rows.

    A neighbor of cosine similarity s votes for its class with weight exp(s / τ). Accuracies, the curve during
    training and the report all use this vote.

    Args:
        train_features: [N, D].
        train_labels: int [N], not negative.
        test_features: [M, D].
        k: Number of neighbors; N if it is larger than N.
        temperature: τ, above 0.
        own_rows: int [M], the training row of the same image, which has no vote; -1 if there is none. None if
            no test image is among the training rows.

    Returns:
        Classes, int64 [M].

    Example:
        >>> knn_votes(features, labels, features, k=20, own_rows=np.arange(len(features)))

    Reference: Wu et al. 2018, arXiv 1805.01978, section 3.4.
    """
    return vote(nearest_rows(train_features, test_features, k, own_rows), train_labels, k, temperature)


def nearest_rows(
    train_features: np.ndarray, test_features: np.ndarray, k: int, own_rows: np.ndarray | None = None
) -> Neighbors:
    """Finds the k most similar training rows of each test row, by exhaustive search on the device.

    Similarities are computed in blocks, and of each block only what belongs to the k best so far is kept.
    The training rows pass over the device once for every `TEST_BLOCK` numbers of test rows; both arrays may
    be memory-mapped. Of equal similarities, the row that comes first counts as nearer.

    Args:
        train_features: [N, D], any float.
        test_features: [M, D], any float.
        k: Number of neighbors; N if it is larger than N.
        own_rows: As in `knn_votes`; such a row is last, with a similarity of minus infinity.

    Returns:
        The neighbors, computed in float64 if one of the arrays is, else in float32.
    """
    k, width = min(k, len(train_features)), train_features.shape[1]
    train_rows = min(max(1, TRAIN_BLOCK // width), len(train_features))
    test_rows = max(1, min(BLOCK // train_rows, TEST_BLOCK // width))
    at_once = max(1, TEST_BLOCK // (test_rows * width)) * test_rows
    dtypes = compute_dtype(train_features), compute_dtype(test_features)
    dtype = tf.float64 if tf.float64 in dtypes else tf.float32
    found = []
    for start in range(0, len(test_features), at_once):
        some = slice(start, start + at_once)
        tests = [_unit_length(rows, dtype) for rows in blocks_on_host(test_features[some], test_rows)]
        own = [None] * len(tests)
        if own_rows is not None:
            own = [tf.constant(rows, tf.int32) for rows in blocks_on_host(own_rows[some], test_rows)]
        found += _search(blocks_on_host(train_features, train_rows), tests, own, k)
    similarity, index = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Neighbors(similarity, index)


def vote(
    neighbors: Neighbors, train_labels: np.ndarray, k: int, temperature: float = TEMPERATURE
) -> np.ndarray:
    """Returns the classes that the k nearest of some neighbors vote for; see `knn_votes`."""
    classes = int(train_labels.max()) + 1
    winners = []
    for similarity, index in zip(
        *(blocks_on_host(part[:, :k], max(1, BLOCK // classes)) for part in neighbors), strict=True
    ):
        # Relative to the closest one, so that no exponential overflows.
        weights = np.exp((similarity - similarity[:, :1]) / temperature)
        votes = np.zeros((len(index), classes))
        np.add.at(votes, (np.arange(len(votes))[:, np.newaxis], train_labels[index]), weights)
        winners.append(votes.argmax(axis=1))
    return np.concatenate(winners)


def _search(
    train: Iterable[np.ndarray], tests: list[tf.Tensor], own: list[tf.Tensor | None], k: int
) -> list[Neighbors]:
    """Finds the neighbors of blocks of test rows, in one pass over blocks of training rows."""
    best, start = [_nothing(test, k) for test in tests], 0
    for block in train:
        rows = _unit_length(block, tests[0].dtype)
        best = [
            _nearer(test, rows, tf.constant(start), mine, *so_far)
            for test, mine, so_far in zip(tests, own, best, strict=True)
        ]
        start += len(block)
    return [Neighbors(similarity.numpy(), index.numpy()) for similarity, index in best]


def _nothing(test: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.fill([len(test), k], tf.constant(-np.inf, test.dtype)), tf.zeros([len(test), k], tf.int32)


@tf.function(autograph=False, reduce_retracing=True)
def _nearer(
    test: tf.Tensor,
    rows: tf.Tensor,
    start: tf.Tensor,
    own: tf.Tensor | None,
    similarity: tf.Tensor,
    index: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Merges the neighbors so far, [n, k], with those among further rows, the first of which is `start`."""
    new = exact_matmul(test, rows, transpose_b=True)
    new_index = start + tf.range(tf.shape(rows)[0])
    if own is not None:
        new = tf.where(own[:, tf.newaxis] == new_index, tf.constant(-np.inf, new.dtype), new)
    k = tf.shape(similarity)[1]
    nearest = tf.math.top_k(new, tf.minimum(k, tf.shape(new)[1]))
    merged = tf.math.top_k(tf.concat([similarity, nearest.values], axis=1), k)
    indices = tf.concat([index, start + nearest.indices], axis=1)
    return merged.values, tf.gather(indices, merged.indices, batch_dims=1)


def _unit_length(rows: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    features = tf.cast(tf.constant(rows), dtype)
    return features / tf.maximum(
        tf.norm(features, axis=1, keepdims=True), np.finfo(dtype.as_numpy_dtype).tiny
    )
