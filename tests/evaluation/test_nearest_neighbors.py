"""Weighted kNN against a naive vote and scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tf_simclrv2.evaluation import knn_accuracy, knn_votes, nearest_neighbors


def features(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, rows)
    return np.eye(4, 6)[labels] + 0.9 * rng.standard_normal((rows, 6)), labels


def naive_accuracy(train, train_labels, test, test_labels, k, temperature):
    hits = 0
    for row, label in zip(test, test_labels, strict=True):
        similarity = [row @ other / np.linalg.norm(row) / np.linalg.norm(other) for other in train]
        nearest = sorted(range(len(train)), key=lambda i: -similarity[i])[:k]
        votes = [
            sum(np.exp(similarity[i] / temperature) for i in nearest if train_labels[i] == c)
            for c in range(4)
        ]
        hits += int(np.argmax(votes)) == label
    return hits / len(test)


@pytest.mark.parametrize("k", [1, 5, 20, 1000])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_naive_vote(k, temperature):
    train, test = features(60, 0), features(40, 1)
    assert knn_accuracy(*train, *test, k, temperature) == naive_accuracy(*train, *test, k, temperature)


@pytest.mark.parametrize("k", [5, 20])
def test_scikit_learn(k):
    (x, y), (test, labels) = features(300, 2), features(150, 3)
    # For unit rows the squared distance is 2 - 2 · similarity.
    weighted = KNeighborsClassifier(k, weights=lambda distance: np.exp((1 - distance**2 / 2) / 0.07))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test)]
    assert knn_accuracy(x, y, test, labels, k) == weighted.fit(unit[0], y).score(unit[1], labels)


def test_chunks_and_scale_do_not_show(monkeypatch):
    (x, y), (test, labels) = features(80, 4), features(50, 5)
    whole = knn_accuracy(x, y, test, labels, 7)
    monkeypatch.setattr(nearest_neighbors, "BLOCK", 9 * 80)
    assert knn_accuracy(1e3 * x, y, (1e-3 * test).astype(np.float32), labels, 7) == whole


def test_a_zero_row_is_no_error():
    x, y = features(10, 6)
    assert 0.0 <= knn_accuracy(x, y, np.zeros((2, 6)), np.array([0, 1]), 3) <= 1.0


@pytest.mark.parametrize("k", [1, 5, 60])
def test_an_image_has_no_vote_on_itself(k, monkeypatch):
    """Half of the images are in the training rows; each of them is judged by the others alone."""
    monkeypatch.setattr(nearest_neighbors, "BLOCK", 7 * 30)
    x, y = features(60, 7)
    train = np.arange(0, 60, 2)
    own = np.full(60, -1)
    own[train] = np.arange(30)
    votes = knn_votes(x[train], y[train], x, k, own_rows=own)
    for image, vote in enumerate(votes):
        others = train[train != image]
        alone = (x[others], y[others], x[image : image + 1])
        assert naive_accuracy(*alone, [vote], k, nearest_neighbors.TEMPERATURE) == 1.0
    with_itself = knn_votes(x[train], y[train], x[train], 1)
    np.testing.assert_array_equal(with_itself, y[train])
