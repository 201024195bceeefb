"""Every optimizer: replicas, XLA, half-precision gradients, and files."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import OPTIMIZERS, Optimizer

STEPS = 4
START = np.random.default_rng(2).standard_normal((4, 3))
# Per step and example: what a replica holds is the sum over its own examples.
GRADIENTS = 0.1 * np.random.default_rng(3).standard_normal((STEPS, 8, 4, 3))

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)


def _begin(descriptor: Optimizer, dtype: str) -> tuple[keras.optimizers.Optimizer, keras.Variable]:
    optimizer, weight = descriptor.make(), keras.Variable(START, dtype=dtype)
    optimizer.build([weight])
    return optimizer, weight


def _apply(optimizer: keras.optimizers.Optimizer, weight: keras.Variable, gradient: tf.Tensor) -> None:
    optimizer.apply([gradient], [weight])


def _train(descriptor: Optimizer, spread) -> list[np.ndarray]:
    with spread.scope():
        optimizer, weight = _begin(descriptor, "float64")

    def step(gradients: tf.Tensor) -> tf.Tensor:
        optimizer.apply([tf.reduce_sum(gradients, axis=0)], [weight])
        return tf.zeros([])

    for gradients in GRADIENTS:
        spread.run(step, gradients)
    return [np.asarray(v) for v in (weight, *optimizer.variables)]


@pytest.mark.parametrize("count", [2, 4])
@every_optimizer
def test_replicas_do_not_matter(replicas: Callable, optimizer: Optimizer, count: int) -> None:
    alone, together = _train(optimizer, replicas(1)), _train(optimizer, replicas(count))
    assert np.abs(alone[0] - START).max() > 1e-6
    for want, got in zip(alone, together, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@every_optimizer
def test_xla_does_not_matter(optimizer: Optimizer) -> None:
    ends = []
    for jit in (False, True):
        made, weight = _begin(optimizer, "float64")
        apply = tf.function(functools.partial(_apply, made, weight), jit_compile=jit)
        for gradient in GRADIENTS.sum(axis=1):
            apply(gradient=tf.constant(gradient))
        ends.append(np.asarray(weight))
    # The learning rate is float32, and XLA may take another cosine.
    np.testing.assert_allclose(ends[1] - START, ends[0] - START, rtol=1e-6)


@every_optimizer
def test_half_precision_gradients_are_close(optimizer: Optimizer) -> None:
    ends = []
    for dtype in (tf.float32, tf.bfloat16):
        made, weight = _begin(optimizer, "float32")
        for gradient in GRADIENTS.sum(axis=1):
            made.apply([tf.cast(gradient, dtype)], [weight])
        assert {v.dtype for v in made.variables if "int" not in v.dtype} == {"float32"}
        ends.append(np.asarray(weight) - START)
    assert 0 < np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(ends[0]) < 0.05


@every_optimizer
def test_keras_file_restores_it(tmp_path: pathlib.Path, optimizer: Optimizer) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.compile(optimizer.make(), loss="mse")
    x, y = GRADIENTS[0, :, :, 0], GRADIENTS[0, :, 0, :]
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for want, got in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(got, want)
    for each in (model, loaded):
        each.fit(x, y, batch_size=8, epochs=2, verbose=0)
    np.testing.assert_allclose(loaded.get_weights()[0], model.get_weights()[0], rtol=1e-6)
