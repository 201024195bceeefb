"""Every loss: replicas, XLA and half precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import BATCH, OBJECTIVES, Objective

CLASSES = 5

every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)


def _batch(objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = objective.views * BATCH
    return rng.standard_normal((rows, CLASSES)), rng.integers(0, CLASSES, rows)


def _step(objective: Objective, replicas: int = 1) -> Callable:
    def step(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(features)
            loss = objective.compute(features, labels)
            shared = loss / replicas
        return loss, tape.gradient(shared, features)

    return step


@pytest.mark.parametrize("count", [2, 4])
@every_objective
def test_replicas_do_not_matter(replicas: Callable, objective: Objective, count: int) -> None:
    features, labels = _batch(objective)
    ((loss, gradient),) = replicas(1).run(_step(objective), features, labels)
    spread = replicas(count)
    results = spread.run(_step(objective, count), features, labels, views=objective.views)
    assert np.mean([r[0] for r in results]) == pytest.approx(loss, rel=1e-12)
    together = spread.join([r[1] for r in results], views=objective.views)
    np.testing.assert_allclose(together, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())


@every_objective
def test_xla_does_not_matter(objective: Objective) -> None:
    batch = [tf.constant(array) for array in _batch(objective)]
    plain, compiled = (tf.function(_step(objective), jit_compile=jit)(*batch) for jit in (False, True))
    assert float(compiled[0]) == pytest.approx(float(plain[0]), rel=1e-12)
    np.testing.assert_allclose(compiled[1], plain[1], rtol=0, atol=1e-12 * np.abs(plain[1]).max())


@every_objective
def test_bfloat16_is_close_to_float32(objective: Objective) -> None:
    features, labels = _batch(objective)
    full = tf.constant(features, tf.float32)
    want, want_gradient = _step(objective)(full, tf.constant(labels))
    got, got_gradient = _step(objective)(tf.cast(full, tf.bfloat16), tf.constant(labels))
    assert got.dtype == tf.float32
    assert got_gradient.dtype == tf.bfloat16
    assert float(got) == pytest.approx(float(want), rel=2e-2)
    error = np.linalg.norm(tf.cast(got_gradient, tf.float32) - want_gradient) / np.linalg.norm(want_gradient)
    assert 0 < error < 0.05
