"""Linear probes on features whose answer is known."""

import numpy as np
import pytest

from tf_simclrv2 import progress
from tf_simclrv2.data import draw_per_class
from tf_simclrv2.evaluation import linear_probe


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
