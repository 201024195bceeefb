"""Weighted nearest neighbors on frozen features: an evaluation without any training."""

from __future__ import annotations

import numpy as np

# Customary since Wu et al. 2018.
NEIGHBORS = (20, 200)
TEMPERATURE = 0.07
# Number of similarities that are in memory at once.
BLOCK = 2**25


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
    train, test = _unit_length(train_features), _unit_length(test_features)
    k = min(k, len(train))
    classes = int(train_labels.max()) + 1
    rows = max(1, BLOCK // len(train))
    winners = []
    for start in range(0, len(test), rows):
        similarity = test[start : start + rows] @ train.T
        if own_rows is not None:
            own = own_rows[start : start + rows]
            similarity[own >= 0, own[own >= 0]] = -np.inf
        nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]
        closeness = np.take_along_axis(similarity, nearest, axis=1)
        # Relative to the closest one, so that no exponential overflows.
        weights = np.exp((closeness - closeness.max(axis=1, keepdims=True)) / temperature)
        votes = np.zeros((len(similarity), classes))
        np.add.at(votes, (np.arange(len(votes))[:, np.newaxis], train_labels[nearest]), weights)
        winners.append(votes.argmax(axis=1))
    return np.concatenate(winners)


def _unit_length(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.finfo(features.dtype).tiny)
