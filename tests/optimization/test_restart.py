"""An optimizer restored from a checkpoint goes on as if it had never stopped."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.config import OptimizerConfig
from tf_simclrv2.optimization import LARS, WarmupCosine, build_optimizer

RNG = np.random.default_rng(9)
START = RNG.standard_normal((4, 3))
GRADIENTS = RNG.standard_normal((5, 4, 3))


def _begin(name: str) -> tuple[keras.optimizers.Optimizer, keras.Variable]:
    schedule = WarmupCosine(0.5, total_steps=5, warmup_steps=2)
    optimizer = build_optimizer(OptimizerConfig(optimizer=name, weight_decay=1e-2), schedule)
    weight = keras.Variable(START, dtype="float32")
    optimizer.build([weight])
    return optimizer, weight


def _train(optimizer: keras.optimizers.Optimizer, weight: keras.Variable, steps: range) -> None:
    for step in steps:
        optimizer.apply([tf.constant(GRADIENTS[step], tf.float32)], [weight])


@pytest.mark.parametrize("name", ["lars", "momentum", "adam"])
def test_checkpoint_restores_slots_and_step(tmp_path: pathlib.Path, name: str) -> None:
    optimizer, weight = _begin(name)
    _train(optimizer, weight, range(3))
    path = tf.train.Checkpoint(optimizer=optimizer, weight=weight).write(str(tmp_path / "ckpt"))
    _train(optimizer, weight, range(3, 5))

    restored, restored_weight = _begin(name)
    checkpoint = tf.train.Checkpoint(optimizer=restored, weight=restored_weight)
    checkpoint.read(path).assert_consumed()
    assert int(restored.iterations) == 3
    _train(restored, restored_weight, range(3, 5))
    np.testing.assert_array_equal(restored_weight, weight)

    fresh, fresh_weight = _begin(name)
    _train(fresh, fresh_weight, range(3, 5))
    assert np.abs(np.asarray(fresh_weight) - np.asarray(weight)).max() > 1e-6


def test_keras_file_restores_a_compiled_models_lars(tmp_path: pathlib.Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.compile(LARS(0.5, weight_decay=1e-2), loss="mse")
    x, y = RNG.standard_normal((8, 4)), RNG.standard_normal((8, 3))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(x, y, batch_size=8, epochs=2, verbose=0)
    np.testing.assert_allclose(loaded.get_weights()[0], model.get_weights()[0], rtol=1e-6)
    np.testing.assert_allclose(loaded.optimizer.momentums[0], model.optimizer.momentums[0], rtol=1e-5)
