"""Logistic regression on the device against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import softmax

from tf_simclrv2.evaluation import device_rows, logistic_regression
from tf_simclrv2.evaluation.logistic_regression import fit_logistic_regressions

STRENGTHS = (1e-3, 1e-1, 10.0)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return found.data[:600], found.target[:600]


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_regression, "TOLERANCE", 1e-9)
    monkeypatch.setattr(logistic_regression, "MAX_ITERATIONS", 5000)


def scikit_learn(x: np.ndarray, y: np.ndarray, strength: float, **options: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, **options)).fit(x, y)


def loss(x: np.ndarray, y: np.ndarray, strength: float, weights: np.ndarray, biases: np.ndarray) -> float:
    """What both minimize, of rows that are standardized already."""
    probabilities = softmax(x @ weights + biases)[np.arange(len(x)), y]
    return -np.log(probabilities).mean() + (weights**2).sum() / (2 * strength * len(x))


@pytest.mark.usefixtures("to_the_end")
def test_loss_and_weights_in_float64(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    found = fit_logistic_regressions(x, y, STRENGTHS)
    standard = StandardScaler().fit_transform(x)
    assert found.weights.dtype == tf.float64
    for strength, weights in zip(STRENGTHS, found.weights.numpy(), strict=True):
        theirs = scikit_learn(x, y, strength, tol=1e-9, max_iter=5000)[-1]
        ours = loss(standard, y, strength, weights[:-1], weights[-1])
        assert ours == pytest.approx(
            loss(standard, y, strength, theirs.coef_.T, theirs.intercept_), rel=1e-12
        )
        np.testing.assert_allclose(weights[:-1], theirs.coef_.T, atol=1e-5)


@pytest.mark.usefixtures("to_the_end")
def test_two_classes_have_half_the_strength_of_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    found = fit_logistic_regressions(x, y % 2, [0.5])
    theirs = scikit_learn(x, y % 2, 1.0, tol=1e-9, max_iter=5000)[-1]
    weights = found.weights.numpy()[0, :-1]
    np.testing.assert_allclose(weights[:, 1] - weights[:, 0], theirs.coef_[0], atol=1e-5)


def test_predictions_of_float32_features(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    fit, rest = np.arange(0, 600, 2), np.arange(1, 600, 2)
    found = fit_logistic_regressions(x.astype(np.float32), y, STRENGTHS, fit)
    predicted = found.predict(x.astype(np.float32), rest)
    for strength, ours in zip(STRENGTHS, predicted, strict=True):
        theirs = scikit_learn(x[fit], y[fit], strength, max_iter=500).predict(x[rest])
        # 0.3 points of 300 rows are less than one.
        assert abs(np.mean(ours == y[rest]) - np.mean(theirs == y[rest])) <= 0.003
        assert np.mean(ours == theirs) > 0.99


@pytest.mark.parametrize("kept", [0, 2**30])
def test_blocks_do_not_show(
    digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """Whether they stay on the device, or are copied in each pass."""
    x, y = digits
    whole = fit_logistic_regressions(x, y, STRENGTHS)
    monkeypatch.setattr(logistic_regression, "BLOCK", 170 * 64)
    monkeypatch.setattr(device_rows, "KEPT", kept)
    parts = fit_logistic_regressions(x, y, STRENGTHS)
    np.testing.assert_allclose(parts.weights, whole.weights, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(parts.predict(x), whole.predict(x))


def test_a_start_near_the_end_is_used(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    found = fit_logistic_regressions(x, y, STRENGTHS)
    again = fit_logistic_regressions(x, y, STRENGTHS, start=found.weights)
    np.testing.assert_array_equal(again.weights, found.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_without_a_spread_count_for_nothing(dtype: type) -> None:
    """0.1 is no binary number, so that its computed spread is not 0 in float64."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.concatenate([np.eye(3)[y] + 0.1 * rng.standard_normal((60, 3)), np.full((60, 2), 0.1)], axis=1)
    found = fit_logistic_regressions(x.astype(dtype), y, [1.0])
    np.testing.assert_allclose(found.weights[0, 3:5], 0.0, atol=1e-6)
    assert np.mean(found.predict(x.astype(dtype)) == y) == 1.0
