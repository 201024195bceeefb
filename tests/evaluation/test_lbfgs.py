"""L-BFGS of several functions at once against SciPy's, one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from tf_simclrv2.evaluation.lbfgs import MEMORY, minimize_together

# Functions of 10 parameters: log Σ exp(A x + b) + λ/2 ‖x‖², the smaller λ, the more slowly they converge.
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((3, 40, 10)), RNG.standard_normal((3, 40))
LAMBDA = np.array([1.0, 0.1, 0.01])
EASY, _, HARD = range(3)


def value(x: np.ndarray, i: int) -> float:
    return float(logsumexp(A[i] @ x + B[i]) + LAMBDA[i] / 2 * x @ x)


def gradient(x: np.ndarray, i: int) -> np.ndarray:
    return A[i].T @ softmax(A[i] @ x + B[i]) + LAMBDA[i] * x


class Functions:
    """The functions as `minimize_together` asks for them."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, x: tf.Tensor, which: np.ndarray) -> tuple[np.ndarray, tf.Tensor]:
        self.asked.append(which.tolist())
        points = list(zip(x.numpy().astype(np.float64), which, strict=True))
        gradients = np.stack([gradient(point, i) for point, i in points])
        return np.array([value(point, i) for point, i in points]), tf.constant(gradients, x.dtype)


def test_each_ends_where_scipy_ends() -> None:
    found = minimize_together(Functions(), tf.zeros([3, 10], tf.float64), 1e-9, 500).numpy()
    for i in range(3):
        alone = minimize(value, np.zeros(10), (i,), "L-BFGS-B", gradient, options={"gtol": 1e-9, "ftol": 0})
        assert np.abs(gradient(found[i], i)).max() <= 1e-9
        assert value(found[i], i) == pytest.approx(alone.fun, rel=1e-12)


def test_a_function_that_has_ended_is_not_evaluated_again() -> None:
    functions = Functions()
    minimize_together(functions, tf.zeros([3, 10], tf.float64), 1e-6, 500)
    evaluations = [sum(i in which for which in functions.asked) for i in range(3)]
    assert MEMORY < evaluations[EASY] < evaluations[HARD]
    assert functions.asked[-1] == [HARD]
    # Together they take little more passes than the slowest does.
    assert len(functions.asked) < 1.3 * evaluations[HARD]


def test_the_number_of_iterations_is_limited() -> None:
    steps = []
    minimize_together(Functions(), tf.zeros([3, 10], tf.float64), 1e-9, 7, lambda: steps.append(1))
    assert len(steps) == 7


def test_a_start_at_the_minimum_stays() -> None:
    minimum = minimize_together(Functions(), tf.zeros([3, 10], tf.float64), 1e-9, 500)
    functions = Functions()
    again = minimize_together(functions, minimum, 1e-8, 500)
    np.testing.assert_array_equal(again, minimum)
    assert len(functions.asked) == 1


def test_rounding_of_the_value_does_not_stall_it() -> None:
    """Near the minimum, a value in float32 no longer tells which of two points is lower."""

    class Rounded(Functions):
        def __call__(self, x: tf.Tensor, which: np.ndarray) -> tuple[np.ndarray, tf.Tensor]:
            values, gradients = super().__call__(x, which)
            return (1000 + values).astype(np.float32).astype(np.float64), gradients

    functions = Rounded()
    found = minimize_together(functions, tf.zeros([3, 10]), 3e-6, 500).numpy().astype(np.float64)
    assert max(np.abs(gradient(found[i], i)).max() for i in range(3)) <= 3e-6
    exact = Functions()
    minimize_together(exact, tf.zeros([3, 10], tf.float64), 3e-6, 500)
    assert len(functions.asked) < 1.5 * len(exact.asked)
