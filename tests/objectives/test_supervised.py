"""Cross entropy and top-k accuracy against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.objectives import supervised_loss, top_k_correct
from tf_simclrv2.objectives.supervised import accuracy, curvature_bound

RNG = np.random.default_rng(6)
LOGITS = 3.0 * RNG.standard_normal((9, 5))
LABELS = RNG.integers(0, 5, 9)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels])


def test_loss_and_gradient_equal_numpy() -> None:
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = supervised_loss(logits, tf.constant(LABELS))
    assert float(loss) == pytest.approx(_cross_entropy(LOGITS, LABELS), rel=1e-13)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    np.testing.assert_allclose(
        tape.gradient(loss, logits), (p - np.eye(5)[LABELS]) / 9, rtol=1e-11, atol=1e-15
    )


def test_zero_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    assert float(supervised_loss(tf.zeros([4, 10]), tf.range(4))) == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_float32(dtype: str) -> None:
    half = tf.cast(LOGITS, dtype)
    loss = supervised_loss(half, tf.constant(LABELS))
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(_cross_entropy(tf.cast(half, tf.float64).numpy(), LABELS), rel=1e-6)


@pytest.mark.parametrize("label_type", ["int32", "int64"])
@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_equals_numpy(k: int, label_type: str) -> None:
    best = np.argsort(-LOGITS, axis=1)[:, :k]
    expected = [float(label in row) for label, row in zip(LABELS, best, strict=True)]
    correct = top_k_correct(tf.constant(LOGITS), tf.constant(LABELS, label_type), k)
    assert correct.dtype == tf.float32
    np.testing.assert_array_equal(correct, expected)
    assert 0 < sum(expected) < 9 or k >= 5


def test_negative_labels_are_never_correct() -> None:
    labels = tf.constant(np.where(np.arange(9) < 4, -1, LABELS))
    np.testing.assert_array_equal(top_k_correct(tf.constant(LOGITS), labels, 5), np.arange(9) >= 4)


def test_rows_without_a_label_cost_nothing_and_do_not_count() -> None:
    labels = np.where(np.arange(9) % 3 == 0, -1, LABELS)
    known, logits = labels >= 0, tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = supervised_loss(logits, tf.constant(labels))
    expected = _cross_entropy(LOGITS[known], LABELS[known]) * known.mean()
    assert float(loss) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(tape.gradient(loss, logits).numpy().any(axis=1), known)
    right = LOGITS[known].argmax(axis=1) == LABELS[known]
    assert float(accuracy(logits, tf.constant(labels))) == pytest.approx(right.mean())
    assert float(accuracy(logits, tf.fill([9], -1))) == 0.0


def _largest_curvature(x: np.ndarray, kernel: np.ndarray, labels: np.ndarray) -> float:
    """Largest eigenvalue of the second derivative of the loss, which TensorFlow differentiates twice."""
    weights = tf.constant(kernel.ravel())
    with tf.GradientTape() as outer:
        outer.watch(weights)
        with tf.GradientTape() as inner:
            inner.watch(weights)
            loss = supervised_loss(tf.matmul(x, tf.reshape(weights, kernel.shape)), labels)
        gradient = inner.gradient(loss, weights)
    return float(np.linalg.eigvalsh(outer.jacobian(gradient, weights).numpy()).max())


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("rows", [1, 9])
def test_no_curvature_is_above_its_bound(rows: int, scale: float) -> None:
    """With a kernel of zeros all classes are equally likely; with a large one a row has one likely class."""
    features = np.abs(RNG.standard_normal((rows, 6)))
    kernel = scale * RNG.standard_normal((7, 5))
    x = np.concatenate([features, np.ones((rows, 1))], axis=1)  # The bias is a weight of a feature of 1.
    labels = RNG.integers(0, 5, rows)
    largest = _largest_curvature(x, kernel, labels)
    bound = float(curvature_bound(tf.constant(features), tf.constant(x @ kernel), tf.constant(labels)))
    assert bound >= largest * (1 - 1e-9)
    if rows == 1 and scale == 0.0:
        assert bound == pytest.approx(largest)


def test_rows_without_a_label_have_no_curvature() -> None:
    features, logits = RNG.standard_normal((8, 6)), RNG.standard_normal((8, 5))
    labels = np.array([3, -1, -1, 0, -1, -1, -1, -1])
    some = labels >= 0
    of_some = curvature_bound(*map(tf.constant, (features[some], logits[some], labels[some])))
    of_all = curvature_bound(*map(tf.constant, (features, logits, labels)))
    assert float(of_all) == pytest.approx(float(of_some) * some.mean())
    assert float(curvature_bound(*map(tf.constant, (features, logits, np.full(8, -1))))) == 0
