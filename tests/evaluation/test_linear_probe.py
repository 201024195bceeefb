"""Linear probes on features whose answer is known."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tf_simclrv2 import progress
from tf_simclrv2.data import draw_per_class
from tf_simclrv2.evaluation import linear_probe
from tf_simclrv2.evaluation.linear_probe import MANY, STRENGTHS, _splits


def blobs(examples, separation, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % 3
    centers = separation * np.eye(3, 5)
    return centers[labels] + rng.standard_normal((examples, 5)), labels


def test_separable_classes_are_told_apart():
    x, y = blobs(300, separation=20.0)
    assert linear_probe(x[:200], y[:200], x[200:], y[200:]).accuracy == 1.0


def test_iterations_are_told(monkeypatch):
    """A fit to a large set takes minutes."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    (x, y), lines = blobs(60, separation=20.0), []
    linear_probe(x[:40], y[:40], x[40:], y[40:], say=lines.append)
    assert sum(line.startswith("linear probe, iteration ") for line in lines) > 1


def test_noise_stays_at_chance():
    x, y = blobs(900, separation=0.0)
    assert linear_probe(x[:600], y[:600], x[600:], y[600:]).accuracy == pytest.approx(1 / 3, abs=0.1)


def test_scale_does_not_matter():
    x, y = blobs(300, separation=2.0)
    scaled = x * np.array([1e-4, 1.0, 1e4, 10.0, 0.1]) + 5.0
    plain = linear_probe(x[:200], y[:200], x[200:], y[200:])
    assert linear_probe(scaled[:200], y[:200], scaled[200:], y[200:]).accuracy == pytest.approx(
        plain.accuracy
    )


# Standardising three rows makes noise as large as what tells classes apart: better than chance is all.
@pytest.mark.parametrize(("per_class", "least"), [(1, 0.5), (2, 0.9), (4, 0.9)])
def test_few_labels_are_enough(per_class, least):
    """A fifth of them is less than one of each class."""
    x, y = blobs(300, separation=20.0)
    rows = draw_per_class(y[:200], per_class)
    assert linear_probe(x[rows], y[rows], x[200:], y[200:]).accuracy > least


@pytest.mark.parametrize("seed", range(4))
def test_the_penalty_is_the_one_of_cross_validation(seed):
    """Of few rows; scikit-learn fits to the same folds, one strength after another."""
    x, y = load_digits(return_X_y=True)
    rows = draw_per_class(y, 20, seed)
    found = linear_probe(x[rows], y[rows], x, y, seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    grid = {"logisticregression__C": STRENGTHS}
    reference = GridSearchCV(model, grid, cv=folds).fit(x[rows], y[rows])
    right = dict(zip(STRENGTHS, 200 * reference.cv_results_["mean_test_score"], strict=True))
    assert right[found.strength] >= max(right.values()) - 1.01, "solvers may differ on a row"
    model.set_params(logisticregression__C=found.strength).fit(x[rows], y[rows])
    assert found.accuracy == pytest.approx(model.score(x, y), abs=2e-3)


@pytest.mark.parametrize("counts", [[7, 7, 7], [1, 2, 30], [2, 2], [4, 1, 1], [400, 300, 200], [600, 600, 2]])
def test_every_row_of_few_is_held_out_once(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    splits = _splits(labels, 0)
    held = np.concatenate([held for _, held in splits])
    several = np.flatnonzero(np.asarray(counts)[labels] > 1)
    if len(labels) < MANY:
        np.testing.assert_array_equal(np.sort(held), several)
    else:
        assert len(splits) == 1 and len(held) == pytest.approx(len(several) / 5, abs=1)
    for fit, held in splits:
        assert set(labels[fit]) == set(labels) and not set(fit) & set(held)
        assert len(fit) + len(held) == len(labels)


def test_an_only_row_is_not_held_out():
    x, y = blobs(300, separation=20.0)
    rows = np.concatenate([np.flatnonzero(y[:200] != 2), [2]])
    assert linear_probe(x[rows], y[rows], x[200:], y[200:]).accuracy > 0.6


def test_subset_is_balanced_seeded_and_without_repeats():
    labels = np.random.default_rng(0).integers(0, 4, 200)
    rows = draw_per_class(labels, 7, seed=3)
    assert len(set(rows)) == len(rows) == 28
    assert np.bincount(labels[rows]).tolist() == [7, 7, 7, 7]
    np.testing.assert_array_equal(rows, draw_per_class(labels, 7, seed=3))
    assert not np.array_equal(rows, draw_per_class(labels, 7, seed=4))


def test_a_small_class_gives_all_it_has():
    labels = np.array([0] * 10 + [1] * 2)
    assert np.bincount(labels[draw_per_class(labels, 5)]).tolist() == [5, 2]
