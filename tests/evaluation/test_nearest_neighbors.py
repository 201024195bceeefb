"""Weighted kNN against a naive vote and scikit-learn."""

import ml_dtypes
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tf_simclrv2.evaluation import knn_accuracy, knn_votes, nearest_neighbors
from tf_simclrv2.evaluation.nearest_neighbors import knn_accuracies, nearest_rows


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


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_blocks_find_what_one_sorted_matrix_has(dtype, k, monkeypatch):
    x, test = (features(rows, seed)[0].astype(dtype) for rows, seed in ((90, 8), (31, 9)))
    own = np.full(31, -1)
    own[:10] = np.arange(40, 50)
    monkeypatch.setattr(nearest_neighbors, "TRAIN_BLOCK", 6 * 20)
    monkeypatch.setattr(nearest_neighbors, "TEST_BLOCK", 6 * 12)
    monkeypatch.setattr(nearest_neighbors, "BLOCK", 20 * 5)
    found = nearest_rows(x, test, k, own)
    wide = np.float64 if dtype is np.float64 else np.float32
    unit = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x.astype(wide), test.astype(wide))
    ]
    similarity = unit[1] @ unit[0].T
    similarity[np.arange(10), own[:10]] = -np.inf
    order = np.argsort(-similarity, axis=1)[:, :k]
    assert found.similarity.dtype == wide
    np.testing.assert_allclose(
        found.similarity,
        np.take_along_axis(similarity, order, axis=1),
        atol=1e-6 if wide is np.float32 else 1e-14,
    )
    if k < 90:  # What comes last there is no neighbor.
        np.testing.assert_array_equal(found.index, order)


def test_of_equal_rows_the_first_is_nearer(monkeypatch):
    x, test = np.tile(np.eye(3), (5, 1)), np.eye(3)
    monkeypatch.setattr(nearest_neighbors, "TRAIN_BLOCK", 3 * 4)
    found = nearest_rows(x, test, 15)
    np.testing.assert_array_equal(found.index, np.argsort(-test @ x.T, axis=1, kind="stable"))


def test_no_block_has_more_numbers_than_allowed(monkeypatch):
    monkeypatch.setattr(nearest_neighbors, "TRAIN_BLOCK", 6 * 20)
    monkeypatch.setattr(nearest_neighbors, "TEST_BLOCK", 6 * 12)
    monkeypatch.setattr(nearest_neighbors, "BLOCK", 20 * 5)
    sizes = []
    merge = nearest_neighbors._nearer

    def watched(test, rows, *others):
        sizes.append((len(test), len(rows)))
        return merge(test, rows, *others)

    monkeypatch.setattr(nearest_neighbors, "_nearer", watched)
    nearest_rows(features(90, 8)[0], features(31, 9)[0], 5)
    assert max(test for test, _ in sizes) == 5 and max(rows for _, rows in sizes) == 20
    # 31 test rows are searched for in four passes of at most 10, over five blocks each.
    assert len(sizes) == 7 * 5


def test_one_search_serves_several_k():
    train, test = features(300, 2), features(150, 3)
    assert knn_accuracies(*train, *test, ks=(5, 20)) == [knn_accuracy(*train, *test, k) for k in (5, 20)]
