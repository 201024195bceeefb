"""Weighted nearest neighbours on frozen features: an evaluation that fits nothing."""

from __future__ import annotations

import numpy as np

# Customary since Wu et al. 2018.
NEIGHBOURS = (20, 200)
TEMPERATURE = 0.07
# Similarities held in memory at once.
BLOCK = 2**25


def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    k: int,
    temperature: float = TEMPERATURE,
) -> float:
    """Top-1 accuracy of the vote of the k most similar training rows.

    Features are normalised; a neighbour of cosine similarity s votes for its class with exp(s / τ).

    Args:
        train_features: [N, D].
        train_labels: int [N].
        test_features: [M, D].
        test_labels: int [M].
        k: Neighbours; more than N counts as N.
        temperature: τ.

    Returns:
        Accuracy in [0, 1].

    Reference: Wu et al. 2018, arXiv 1805.01978, section 3.4.
    """
    train, test = _normalised(train_features), _normalised(test_features)
    k = min(k, len(train))
    classes = int(train_labels.max()) + 1
    correct = 0
    rows = max(1, BLOCK // len(train))
    for start in range(0, len(test), rows):
        similarity = test[start : start + rows] @ train.T
        nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]
        closeness = np.take_along_axis(similarity, nearest, axis=1)
        # Relative to the closest one, so that no exponential overflows.
        weights = np.exp((closeness - closeness.max(axis=1, keepdims=True)) / temperature)
        votes = np.zeros((len(similarity), classes))
        np.add.at(votes, (np.arange(len(votes))[:, np.newaxis], train_labels[nearest]), weights)
        correct += int(np.sum(votes.argmax(axis=1) == test_labels[start : start + rows]))
    return correct / len(test)


def _normalised(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.finfo(features.dtype).tiny)
