"""Accuracy of each class and balanced accuracy, against scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from tf_simclrv2.evaluation.class_accuracy import ClassAccuracy


def guesses(classes: int, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are right in about half of the rows, of classes with a long tail."""
    rng = np.random.default_rng(seed)
    share = 0.6 ** np.arange(classes)
    labels = rng.choice(classes, rows, p=share / share.sum())
    return np.where(rng.random(rows) < 0.5, labels, rng.integers(0, classes, rows)), labels


@pytest.mark.parametrize(("classes", "rows"), [(2, 10), (7, 300), (30, 200)])
def test_scikit_learn_agrees(classes, rows):
    predictions, labels = guesses(classes, rows)
    found = ClassAccuracy.of(predictions, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of 30 classes some do not occur.
        assert found.balanced == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert found.top_1 == pytest.approx(accuracy_score(labels, predictions))
    occur = np.unique(labels)
    recalls = recall_score(labels, predictions, labels=occur, average=None)
    expected = dict(zip(map(str, occur), recalls, strict=True))
    assert found.by_class() == pytest.approx(expected)
    assert found.images_by_class() == {str(label): int(np.sum(labels == label)) for label in occur}


def test_rows_without_a_label_count_nowhere():
    predictions, labels = guesses(5, 100)
    forgotten = np.arange(100) % 3 == 0
    found = ClassAccuracy.of(predictions, np.where(forgotten, -1, labels))
    known = ClassAccuracy.of(predictions[~forgotten], labels[~forgotten])
    assert found.top_1 == known.top_1 and found.balanced == known.balanced
    assert found.by_class() == known.by_class()


def test_a_class_that_does_not_occur_has_no_accuracy():
    found = ClassAccuracy.of(np.array([0, 1, 3, 3]), np.array([0, 0, 3, 3]))
    names = ("ant", "bee", "cat", "dog", "eel")
    assert found.by_class(names) == {"ant": 0.5, "dog": 1.0}
    assert found.results("x", names) == {
        "x/balanced_accuracy": 0.75,
        "x/accuracy_per_class": {"ant": 0.5, "dog": 1.0},
    }
