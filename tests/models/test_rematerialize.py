"""Rematerialized blocks against plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.models import ResNet, resnet
from tf_simclrv2.models.batch_norm import BatchNormRelu

SHAPE = (4, 16, 16, 3)
ENCODERS = {
    "residual": {"depth": 18, "cifar_stem": True},
    "selective_kernel": {"depth": 50, "sk_ratio": 0.0625, "se_ratio": 0.25},
    "half_frozen": {"depth": 18, "cifar_stem": True, "fine_tune_after_block": 2},
}


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in (18, 50):
        monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, depth, (1, 0, 0, 2))


def _encoder(kwargs: dict[str, Any], dtype: str, rematerialize: bool) -> ResNet:
    """Weights that leave no branch without effect."""
    encoder = ResNet(**kwargs, rematerialize=rematerialize, dtype=dtype)
    encoder.build((None, *SHAPE[1:]))
    rng = np.random.default_rng(0)
    for variable in encoder.variables:
        value = 0.5 + rng.random(variable.shape)
        fan_in = max(int(np.prod(variable.shape[:-1])), 1)
        if variable.name not in ("gamma", "moving_variance"):
            value = rng.standard_normal(variable.shape) / np.sqrt(fan_in)
        variable.assign(value)
    return encoder


def _gradients(encoder: ResNet) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    def compute(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            h = encoder(x, training=True)["final_avg_pool"]
            objective = tf.reduce_sum(tf.cos(tf.cast(h, tf.float64)))
        gradients = tape.gradient(objective, [v.value for v in encoder.trainable_variables])
        return [h, *gradients]

    return compute


def _inputs(dtype: str) -> np.ndarray:
    return np.random.default_rng(1).random(SHAPE).astype(dtype)


def _assert_same(got: list, want: list, tolerance: float) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("kwargs", ENCODERS.values(), ids=ENCODERS)
def test_nothing_but_memory_changes(kwargs: dict[str, Any]) -> None:
    x = tf.constant(_inputs("float64"))
    plain, again = (_encoder(kwargs, "float64", rematerialize) for rematerialize in (False, True))
    want = tf.function(_gradients(plain))(x)
    got = tf.function(_gradients(again))(x)
    _assert_same([y.numpy() for y in got], [y.numpy() for y in want], 1e-10)
    _assert_same([v.numpy() for v in again.variables], [v.numpy() for v in plain.variables], 1e-12)


def test_bfloat16_is_recomputed_in_bfloat16() -> None:
    x = tf.constant(_inputs("float32"))
    plain, again = (_encoder(ENCODERS["residual"], "mixed_bfloat16", remat) for remat in (False, True))
    want, got = (tf.function(_gradients(encoder))(x) for encoder in (plain, again))
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        a, b = (tf.cast(y, tf.float32).numpy() for y in (a, b))
        assert np.linalg.norm(a - b) <= 2e-2 * np.linalg.norm(b)


def test_frozen_variables_get_no_gradient() -> None:
    encoder = _encoder(ENCODERS["half_frozen"], "float32", True)
    before = [v.numpy() for v in encoder.stem.variables]
    variables = [v.value for v in encoder.variables]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        objective = tf.reduce_sum(
            tf.cos(encoder(tf.constant(_inputs("float32")), training=True)["final_avg_pool"])
        )
    trainable = {id(v) for v in encoder.trainable_variables}
    assert 0 < len(trainable) < len(variables)
    for variable, gradient in zip(encoder.variables, tape.gradient(objective, variables), strict=True):
        assert (gradient is not None) == (id(variable) in trainable), variable.path
    _assert_same([v.numpy() for v in encoder.stem.variables], before, 0.0)


def test_statistics_are_kept_if_asked_and_move_otherwise() -> None:
    layer = BatchNormRelu(relu=False)
    x = tf.random.normal([8, 2, 2, 3])
    y = layer(x, training=True, update_statistics=False)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))
    np.testing.assert_allclose(layer(x, training=True), y, rtol=0, atol=1e-6)
    mean = x.numpy().mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=0, atol=1e-6)


def test_it_survives_a_keras_file(tmp_path) -> None:
    encoder = _encoder(ENCODERS["residual"], "float32", True)
    encoder.save(tmp_path / "encoder.keras")
    assert keras.models.load_model(tmp_path / "encoder.keras").block_groups[0].rematerialize
