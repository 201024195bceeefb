"""An optimizer restored from a checkpoint continues as if it had never stopped."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.config import OptimizerConfig
from tf_simclrv2.errors import ConfigError
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


def _model_with_exclusions(dtype: str, input_shape: bool, built: bool) -> keras.Model:
    """A compiled model whose biases are neither decayed nor adapted and whose first kernel is not decayed."""
    layers = [keras.layers.Dense(3, dtype=dtype), keras.layers.Dense(2, dtype=dtype)]
    model = keras.Sequential([keras.Input((4,), dtype=dtype), *layers] if input_shape else layers)
    model.build((None, 4))
    biases = [variable for variable in model.trainable_variables if variable.path.endswith("bias")]
    optimizer = LARS(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay([*biases, layers[0].kernel])
    optimizer.exclude_from_layer_adaptation(biases)
    model.compile(optimizer, loss="mse")
    if built:
        optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("input_shape", [True, False], ids=["input", "no-input"])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("built", [True, False], ids=["built", "not-built"])
def test_keras_file_keeps_exclusions(
    tmp_path: pathlib.Path, built: bool, steps: int, input_shape: bool
) -> None:
    """A model that was saved and loaded takes the same steps as one that was not, in float64."""
    x, y = RNG.standard_normal((8, 4)), RNG.standard_normal((8, 2))
    model = _model_with_exclusions("float64", input_shape, built)
    for _ in range(steps):
        model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras", compile=False)
    plain.compile(LARS(0.5, weight_decay=0.1), loss="mse")
    for each in (model, loaded, plain):
        for _ in range(3):
            each.train_on_batch(x, y)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for ours, theirs in zip(loaded.optimizer.momentums, model.optimizer.momentums, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    # Each exclusion makes a difference.
    for without, theirs in zip(plain.get_weights(), model.get_weights(), strict=True):
        assert np.abs(without - theirs).max() > 1e-8


def test_exclusions_by_name_are_kept() -> None:
    optimizer = LARS(1.0, momentum=0.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    copy = LARS.from_config(optimizer.get_config())
    weights = [keras.Variable(np.full(2, 3.0), dtype="float64", name=name) for name in ("kernel", "bias_1")]
    copy.exclude_from_layer_adaptation(weights)
    copy.apply([tf.ones([2], tf.float64)] * 2, weights)
    np.testing.assert_allclose(weights[0], 3.0 - (1.0 + 0.5 * 3.0))
    np.testing.assert_allclose(weights[1], 3.0 - 1.0)


def test_exclusions_of_another_model_are_refused() -> None:
    variables = [keras.Variable(np.ones(2), name=name) for name in ("a", "b")]
    optimizer = LARS(1.0)
    optimizer.exclude_from_layer_adaptation(variables[:1])
    by_path = optimizer.get_config()
    optimizer.build(variables)
    by_position = optimizer.get_config()
    others = [keras.Variable(np.ones(2), name=name) for name in ("c", "d", "e")]
    with pytest.raises(ConfigError, match=r"among 2 variables, but is built for 3; exclude"):
        LARS.from_config(by_position).build(others)
    with pytest.raises(ConfigError, match="of the variable 'a', of which this model has 0; exclude"):
        LARS.from_config(by_path).build(others)
    for config in (by_path, by_position):
        anew = LARS.from_config(config)
        anew.exclude_from_weight_decay()
        anew.exclude_from_layer_adaptation(others[1:])
        anew.build(others)
        assert anew.get_config()["not_adapted"]["positions"] == [1, 2]


def test_config_of_an_earlier_version() -> None:
    """It has no exclusions."""
    config = LARS(0.5).get_config()
    del config["not_decayed"], config["not_adapted"]
    assert LARS.from_config(config).get_config() == LARS(0.5).get_config()
