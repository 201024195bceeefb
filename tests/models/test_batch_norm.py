"""Batch norm against NumPy, over 1, 2 and 4 replicas, and in half precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.models.batch_norm import EPSILON, BatchNormRelu
from tf_simclrv2.models.compiled_batch_norm import batch_norm_relu

RNG = np.random.default_rng(3)
X = 2.0 + 3.0 * RNG.standard_normal((8, 3, 5, 6))
COTANGENT = RNG.standard_normal(X.shape)
GAMMA, BETA, MEAN = RNG.standard_normal((3, 6))
VARIANCE = 0.5 + RNG.random(6)


@pytest.fixture(autouse=True, params=["cpu", "accelerator"])
def _device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is run with the ops of a CPU, and with those of an accelerator."""
    if request.param == "accelerator":
        monkeypatch.setattr(devices, "on_cpu", lambda: False)


def _layer(dtype: str = "float64", **options) -> BatchNormRelu:
    layer = BatchNormRelu(dtype=dtype, **options)
    layer.build(X.shape)
    layer.gamma.assign(GAMMA)
    if layer.beta is not None:
        layer.beta.assign(BETA)
    layer.moving_mean.assign(MEAN)
    layer.moving_variance.assign(VARIANCE)
    return layer


def _reference(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, relu: bool, center: bool) -> np.ndarray:
    y = GAMMA * (x - mean) / np.sqrt(variance + EPSILON) + (BETA if center else 0.0)
    return np.maximum(y, 0.0) if relu else y


@pytest.mark.parametrize("global_bn", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_training_and_inference_equal_numpy(relu: bool, center: bool, global_bn: bool) -> None:
    layer = _layer(relu=relu, center=center, global_bn=global_bn, momentum=0.8)
    np.testing.assert_allclose(layer(X), _reference(X, MEAN, VARIANCE, relu, center), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(layer.moving_mean, MEAN)

    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))  # the population variance
    y = layer(X, training=True)
    np.testing.assert_allclose(y, _reference(X, mean, variance, relu, center), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.moving_mean, 0.8 * MEAN + 0.2 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, 0.8 * VARIANCE + 0.2 * variance, rtol=1e-12)


def test_not_trainable_means_inference_mode() -> None:
    layer = _layer(relu=False)
    layer.trainable = False
    expected = _reference(X, MEAN, VARIANCE, relu=False, center=True)
    np.testing.assert_allclose(layer(X, training=True), expected, rtol=1e-12)
    np.testing.assert_array_equal(layer.moving_mean, MEAN)
    np.testing.assert_array_equal(layer.moving_variance, VARIANCE)


@pytest.mark.parametrize("shape", [(64, 6), (16, 2, 2, 6)], ids=["rows", "maps"])
def test_variance_survives_a_large_mean(shape: tuple[int, ...]) -> None:
    """In float32, E[x²] - E[x]² would have nothing left of a spread of 1 about 10,000."""
    x = (1e4 + RNG.standard_normal(shape)).astype(np.float32)
    layer = BatchNormRelu(relu=False, momentum=0.0)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_variance, x.astype(np.float64).reshape(-1, 6).var(0), rtol=1e-3)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    "global_bn, count, jit",
    [(True, 1, False), (True, 1, True), (True, 2, False), (True, 4, False), (False, 1, False)],
)
def test_float32_equals_float64(
    replicas: Callable, global_bn: bool, count: int, jit: bool, center: bool
) -> None:
    """Float32 feature maps go through fused kernels, float64 does not."""
    spread = replicas(count)
    results = []
    for dtype in ("float64", "float32"):
        with spread.scope():
            layer = _layer(dtype, center=center, global_bn=global_bn)
        step = tf.function(_step(layer), jit_compile=jit)
        parts = spread.run(step, X.astype(dtype), COTANGENT.astype(dtype))
        y, by_x, *by_weights = zip(*parts, strict=True)
        moving = [np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)]
        results.append([spread.join(y), spread.join(by_x), *(np.sum(g, axis=0) for g in by_weights), *moving])
    assert len(results[0]) == 5 + center
    for want, got in zip(*results, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_single_value_has_no_variance() -> None:
    layer = BatchNormRelu(relu=False, momentum=0.0)
    y = layer(np.full((1, 1, 1, 3), 5.0, np.float32), training=True)
    np.testing.assert_array_equal(y, np.zeros((1, 1, 1, 3)))
    np.testing.assert_array_equal(layer.moving_variance, np.zeros(3))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_float32_statistics(replicas: Callable, policy: str, count: int) -> None:
    spread = replicas(count)
    with spread.scope():
        layer = _layer(policy, momentum=0.0, relu=False)
    assert {v.dtype for v in layer.variables} == {"float32"}
    half = tf.cast(X, layer.compute_dtype).numpy()
    y = spread.join(spread.run(lambda x: layer(x, training=True), half))
    assert y.dtype == half.dtype
    exact = half.astype(np.float64)
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    expected = _reference(exact, mean, variance, relu=False, center=True)
    np.testing.assert_allclose(y.astype(np.float64), expected, rtol=1e-2, atol=1e-2)


def _step(layer: BatchNormRelu) -> Callable:
    def step(x: tf.Tensor, cotangent: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            objective = tf.reduce_sum(y * cotangent)
        weights = [variable.value for variable in layer.trainable_variables]
        return y, *tape.gradient(objective, [x, *weights])

    return step


@pytest.mark.parametrize("count", [2, 4])
def test_global_statistics_are_those_of_the_whole_batch(replicas: Callable, count: int) -> None:
    alone = _layer()
    y, gradient, *_ = (np.asarray(a) for a in _step(alone)(tf.constant(X), tf.constant(COTANGENT)))

    spread = replicas(count)
    with spread.scope():
        layer = _layer()
    results = spread.run(_step(layer), X, COTANGENT)
    np.testing.assert_allclose(spread.join([r[0] for r in results]), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(spread.join([r[1] for r in results]), gradient, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(layer.moving_mean, alone.moving_mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, alone.moving_variance, rtol=1e-12)


def test_moving_statistics_are_not_exchanged(replicas: Callable) -> None:
    """Every replica computes the same ones: averaging them would double the exchanges of a step."""
    spread = replicas(2)
    with spread.scope():
        layer = _layer()

    def exchanges(update_statistics: bool) -> int:
        @tf.function
        def forward(x: tf.Tensor) -> tf.Tensor:
            return spread.strategy.run(lambda: layer(x, training=True, update_statistics=update_statistics))

        operations = forward.get_concrete_function(tf.constant(X)).graph.get_operations()
        return sum(operation.type in ("CollectiveReduceV2", "AddN") for operation in operations)

    assert exchanges(update_statistics=True) == exchanges(update_statistics=False) > 0


def test_local_statistics_are_each_replicas_own(replicas: Callable) -> None:
    spread = replicas(2)
    with spread.scope():
        layer = _layer(global_bn=False, relu=False)
    results = spread.run(_step(layer), X, COTANGENT)
    shares = spread.share(X)
    for (y, gradient, *_), x, cotangent in zip(results, shares, spread.share(COTANGENT), strict=True):
        expected, own_gradient, *_ = _step(_layer(global_bn=False, relu=False))(
            tf.constant(x), tf.constant(cotangent)
        )
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(gradient, own_gradient, rtol=1e-11, atol=1e-12)
    assert (
        np.abs(results[0][0] - _reference(shares[0], X.mean((0, 1, 2)), X.var((0, 1, 2)), False, True)).max()
        > 1e-3
    )
    means = np.mean([x.mean((0, 1, 2)) for x in shares], axis=0)
    variances = np.mean([x.var((0, 1, 2)) for x in shares], axis=0)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * MEAN + 0.1 * means, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * VARIANCE + 0.1 * variances, rtol=1e-12)


def test_gamma_starts_at_one_or_zero_and_beta_at_zero() -> None:
    for init_zero in (False, True):
        layer = BatchNormRelu(init_zero=init_zero)
        layer.build((None, 4))
        np.testing.assert_array_equal(layer.gamma, np.full(4, 0.0 if init_zero else 1.0))
        np.testing.assert_array_equal(layer.beta, np.zeros(4))


def test_a_map_that_is_widened_has_one_reader() -> None:
    """A float32 copy of a bfloat16 map that two operations read is written to memory by XLA for TPUs."""

    @tf.function
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, *_ = batch_norm_relu(x, tf.ones([8]), tf.zeros([8]), EPSILON, True, across_replicas=False)
        return tape.gradient(y, x)

    graph = gradient.get_concrete_function(tf.TensorSpec([4, 6, 6, 8], tf.bfloat16)).graph
    casts = [op for op in graph.get_operations() if op.type == "Cast" and op.inputs[0].dtype == tf.bfloat16]
    maps = [op.outputs[0] for op in casts if op.outputs[0].shape.rank == 4]
    assert len(maps) >= 4  # For the moments, the output, and the two passes of the gradient.
    assert [len(each.consumers()) for each in maps] == [1] * len(maps)
