"""Every layer and network: replicas, XLA, half precision, and files."""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import BATCH, LAYERS, OPTIMIZERS, Layer
from tf_simclrv2 import HubLayer
from tf_simclrv2.tasks import Task

# What is made of several blocks takes long to trace; on four replicas it is part of a step in test_tasks.py.
RUNS = [(layer, count) for layer in LAYERS for count in (2, 4) if count == 2 or not layer.deep]

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)


def _build(descriptor: Layer, dtype: str) -> keras.layers.Layer:
    """The same values whatever the precision, none of which leaves a branch without effect."""
    layer = descriptor.build(dtype)
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(0.5 + rng.random(variable.shape))
        else:
            fan_in = max(int(np.prod(variable.shape[:-1])), 1)
            variable.assign(rng.standard_normal(variable.shape) / np.sqrt(fan_in))
    return layer


def _inputs(descriptor: Layer) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((BATCH, *descriptor.shape))


def _call(layer: keras.layers.Layer, x: tf.Tensor, training: bool) -> list[tf.Tensor]:
    takes_training = "training" in layer._call_signature.parameters
    return tf.nest.flatten(layer(x, training=training) if takes_training else layer(x))


def _training_step(layer: keras.layers.Layer) -> Callable[[tf.Tensor], dict[str, Any]]:
    """Outputs, and the gradients of a sum over examples, summed over replicas."""

    def step(x: tf.Tensor) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            outputs = _call(layer, x, training=True)
            objective = tf.add_n([tf.reduce_sum(y * tf.cos(y)) for y in outputs])
        gradients = tape.gradient(objective, [v.value for v in layer.trainable_variables])
        context = tf.distribute.get_replica_context()
        if gradients and context.num_replicas_in_sync > 1:
            gradients = context.all_reduce("SUM", gradients)
        return {"outputs": outputs, "gradients": gradients}

    return step


def _assert_close(got: list, want: list, tolerance: float) -> None:
    """Each array to a tolerance relative to the largest value of what is wanted."""
    for a, b in zip(map(np.asarray, got), map(np.asarray, want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1e-3))


@pytest.mark.parametrize("layer, count", RUNS, ids=lambda x: getattr(x, "name", x))
def test_replicas_do_not_matter(replicas: Callable, layer: Layer, count: int) -> None:
    x = _inputs(layer)
    alone = _build(layer, "float64")
    want = _training_step(alone)(tf.constant(x))
    spread = replicas(count)
    with spread.scope():
        together = _build(layer, "float64")
    results = spread.run(_training_step(together), x)
    outputs = [spread.join(parts) for parts in zip(*(r["outputs"] for r in results), strict=True)]
    _assert_close(outputs, want["outputs"], 1e-10)
    for result in results:
        _assert_close(result["gradients"], want["gradients"], 1e-9)
    _assert_close(together.variables, alone.variables, 1e-10)


@every_layer
def test_xla_does_not_matter(layer: Layer) -> None:
    x = tf.constant(_inputs(layer))
    plain, compiled = _build(layer, "float64"), _build(layer, "float64")
    want = tf.nest.flatten(_training_step(plain)(x))
    got = tf.nest.flatten(tf.function(_training_step(compiled), jit_compile=True)(x))
    _assert_close(got, want, 1e-9)
    _assert_close(compiled.variables, plain.variables, 1e-10)


@every_layer
def test_bfloat16_is_close_to_float32(layer: Layer) -> None:
    x = _inputs(layer).astype(np.float32)
    full, half = _build(layer, "float32"), _build(layer, "mixed_bfloat16")
    assert {v.dtype for v in half.variables} <= {"float32"}
    outputs = _call(half, x, False)
    # Of all that is computed only the logits of a whole network are in float32.
    assert [got.dtype for got in outputs].count(tf.float32) == (layer.name == "simclr")
    for want, got in zip(_call(full, x, False), outputs, strict=True):
        assert got.dtype in (tf.bfloat16, tf.float32)
        error = np.linalg.norm(tf.cast(got, tf.float32) - want) / np.linalg.norm(want)
        assert 0 < error < 0.05


@every_layer
def test_keras_file_restores_it(tmp_path: pathlib.Path, layer: Layer) -> None:
    built = _build(layer, "float32")
    inputs = keras.Input(layer.shape)
    model = built if isinstance(built, keras.Model) else keras.Model(inputs, built(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = _inputs(layer).astype(np.float32)
    for training in (True, False):
        want = tf.nest.flatten(model(x, training=training))
        got = tf.nest.flatten(loaded(x, training=training))
        _assert_close(got, want, 1e-6)
    assert [v.trainable for v in loaded.variables] == [v.trainable for v in model.variables]


@every_layer
def test_config_round_trip(layer: Layer) -> None:
    built = layer.build("mixed_bfloat16")
    arguments = set(inspect.signature(type(built).__init__).parameters) - {"self", "kwargs"}
    assert arguments <= set(built.get_config())
    copy = type(built).from_config(built.get_config())
    assert copy.get_config() == built.get_config()
    assert copy.dtype_policy.name == "mixed_bfloat16"


def test_everything_is_listed() -> None:
    registered = keras.saving.get_custom_objects()
    ours = {value for key, value in registered.items() if key.startswith("tf_simclrv2>")}
    listed = {type(descriptor.build("float32")) for descriptor in LAYERS}
    listed |= {type(descriptor.make()) for descriptor in OPTIMIZERS}
    schedules = {c for c in ours if issubclass(c, keras.optimizers.schedules.LearningRateSchedule)}
    # tests/tasks/test_keras_file.py saves and loads tasks.
    tasks = {c for c in ours if issubclass(c, Task)}
    # HubLayer is made from a SavedModel: tests/modules/test_module_consumers.py takes it through the same.
    listed = {c for c in listed if c.__module__.startswith("tf_simclrv2")}
    assert ours - schedules - tasks - {HubLayer} == listed
    assert len(ours) >= 14
