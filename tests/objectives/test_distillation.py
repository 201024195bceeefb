"""The distillation loss against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.objectives import distillation_loss


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def logits_pair(dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 5)).astype(dtype), rng.standard_normal((6, 5)).astype(dtype)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_loss_and_gradient(temperature, dtype, tolerance):
    student, teacher = logits_pair(dtype)
    targets, predictions = softmax(teacher / temperature), softmax(student / temperature)
    expected = -np.mean(np.sum(targets * np.log(predictions), axis=1))
    slope = (predictions - targets) / temperature / len(student)
    x, t = tf.constant(student), tf.constant(teacher)
    with tf.GradientTape() as tape:
        tape.watch([x, t])
        loss = distillation_loss(x, t, temperature)
    gradient, to_teacher = tape.gradient(loss, [x, t])
    assert float(loss) == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(gradient, slope, rtol=tolerance * 10, atol=tolerance)
    assert to_teacher is None


def test_a_student_like_its_teacher_is_at_the_minimum():
    _, teacher = logits_pair()
    x = tf.constant(teacher)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = distillation_loss(x, tf.constant(teacher), 0.7)
    np.testing.assert_allclose(tape.gradient(loss, x), 0.0, atol=1e-12)
    p = softmax(teacher / 0.7)
    assert float(loss) == pytest.approx(-np.mean(np.sum(p * np.log(p), axis=1)))


def test_half_precision_logits_give_a_float32_loss():
    student, teacher = logits_pair("float32")
    loss = distillation_loss(tf.cast(student, tf.bfloat16), tf.cast(teacher, tf.bfloat16))
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(float(distillation_loss(student, teacher)), rel=0.02)
