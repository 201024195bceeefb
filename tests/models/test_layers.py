"""Convolution, pooling, selective kernels and squeeze-and-excitation against NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from tf_simclrv2.models.blocks import BottleneckBlock, ProjectionShortcut, ResidualBlock, average_pool_2x2
from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.models.resnet import Stem
from tf_simclrv2.models.selective_kernel import MIN_BOTTLENECK, SelectiveKernel
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation

RNG = np.random.default_rng(5)


def _randomize(layer) -> None:
    """Values that leave no parameter without effect."""
    for variable in layer.variables:
        positive = variable.name in ("gamma", "moving_variance")
        noise = RNG.random(variable.shape) + 0.5 if positive else 0.3 * RNG.standard_normal(variable.shape)
        variable.assign(noise)


def _conv(x: np.ndarray, kernel: np.ndarray, strides: int = 1) -> np.ndarray:
    """Zero padding of (k - 1) / 2 on every side, then strided cross-correlation."""
    size, pad = kernel.shape[0], (kernel.shape[0] - 1) // 2
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows[:, ::strides, ::strides], kernel)


def _norm(x: np.ndarray, layer, training: bool, relu: bool = True) -> np.ndarray:
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes) if training else np.asarray(layer.moving_mean)
    variance = x.var(axes) if training else np.asarray(layer.moving_variance)
    y = (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(layer.gamma) + np.asarray(layer.beta)
    return np.maximum(y, 0.0) if relu else y


@pytest.mark.parametrize("size", [(7, 9), (8, 10), (1, 1), (2, 2), (3, 3), (1, 3)], ids=str)
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_convolution_pads_evenly(kernel_size: int, strides: int, size: tuple[int, int]) -> None:
    x = RNG.standard_normal((2, *size, 3))
    layer = Conv2DFixedPadding(4, kernel_size, strides, dtype="float64")
    y = layer(x)
    np.testing.assert_allclose(y, _conv(x, np.asarray(layer.kernel), strides), rtol=1e-12, atol=1e-12)
    assert tuple(y.shape) == layer.compute_output_shape(x.shape)


def test_convolution_starts_from_a_truncated_normal_of_variance_one_over_fan_in() -> None:
    layer = Conv2DFixedPadding(256, 3)
    layer.build((None, 8, 8, 64))
    kernel = np.asarray(layer.kernel, np.float64)
    spread = np.sqrt(1 / (9 * 64))
    assert kernel.std() == pytest.approx(spread, rel=0.02)
    assert np.abs(kernel).max() <= 2 * spread / 0.8796 + 1e-6  # cut at two standard deviations before scaling


@pytest.mark.parametrize("height, width", [(1, 1), (4, 6), (5, 5), (5, 8), (7, 2)])
def test_pooling_of_odd_and_even_sides(height: int, width: int) -> None:
    x = RNG.standard_normal((2, height, width, 3))
    strided, dense = np.asarray(average_pool_2x2(x, 2)), np.asarray(average_pool_2x2(x, 1))
    assert strided.shape == (2, -(-height // 2), -(-width // 2), 3)
    assert dense.shape == x.shape
    for i in range(height):
        for j in range(width):
            window = x[:, i : i + 2, j : j + 2]
            np.testing.assert_allclose(dense[:, i, j], window.mean((1, 2)), rtol=1e-12)
            if i % 2 == 0 and j % 2 == 0:  # zeros beyond the edge count here
                np.testing.assert_allclose(strided[:, i // 2, j // 2], window.sum((1, 2)) / 4, rtol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("strides", [1, 2])
def test_selective_kernel_equals_numpy(strides: int, training: bool) -> None:
    filters = 6
    x = RNG.standard_normal((3, 5, 4, 3))
    layer = SelectiveKernel(filters, strides, sk_ratio=0.0625, dtype="float64")
    layer.build(x.shape)
    _randomize(layer)

    streams = _norm(_conv(x, np.asarray(layer.streams.kernel), strides), layer.streams_norm, training)
    one, two = streams[..., :filters], streams[..., filters:]
    pooled = (one + two).mean((1, 2), keepdims=True)
    hidden = _norm(_conv(pooled, np.asarray(layer.squeeze.kernel)), layer.squeeze_norm, training)
    assert hidden.shape[-1] == MIN_BOTTLENECK
    logits = _conv(hidden, np.asarray(layer.expand.kernel))
    weight = 1 / (1 + np.exp(logits[..., filters:] - logits[..., :filters]))
    expected = weight * one + (1 - weight) * two

    y = layer(x, training=training)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    assert tuple(y.shape) == layer.compute_output_shape(x.shape)


def test_selective_kernel_bottleneck_grows_with_the_ratio() -> None:
    assert SelectiveKernel(512, sk_ratio=0.0625).squeeze.filters == 32
    assert SelectiveKernel(1024, sk_ratio=0.0625).squeeze.filters == 64
    assert SelectiveKernel(100, sk_ratio=0.5).squeeze.filters == 50


@pytest.mark.parametrize("se_ratio, hidden", [(0.25, 2), (0.01, 1), (1.0, 8)])
def test_squeeze_excitation_equals_numpy(se_ratio: float, hidden: int) -> None:
    x = RNG.standard_normal((3, 5, 4, 12))
    layer = SqueezeExcitation(8, se_ratio, dtype="float64")
    layer.build(x.shape)
    _randomize(layer)
    reduce, expand = np.asarray(layer.reduce.kernel)[0, 0], np.asarray(layer.expand.kernel)[0, 0]
    assert reduce.shape == (12, hidden)
    squeezed = np.maximum(x.mean((1, 2)) @ reduce + np.asarray(layer.reduce.bias), 0.0)
    gate = 1 / (1 + np.exp(-(squeezed @ expand + np.asarray(layer.expand.bias))))
    np.testing.assert_allclose(layer(x), x * gate[:, None, None], rtol=1e-12)


@pytest.mark.parametrize("resnet_d", [False, True])
def test_projection_shortcut_equals_numpy(resnet_d: bool) -> None:
    x = RNG.standard_normal((4, 5, 5, 3))
    layer = ProjectionShortcut(6, strides=2, resnet_d=resnet_d, dtype="float64")
    layer.build(x.shape)
    _randomize(layer)
    pooled = np.asarray(average_pool_2x2(x, 2)) if resnet_d else x[:, ::2, ::2]
    expected = _norm(_conv(pooled, np.asarray(layer.conv.kernel)), layer.norm, training=True, relu=False)
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("ratios", [{}, {"sk_ratio": 0.0625}, {"se_ratio": 0.25}], ids=["plain", "sk", "se"])
@pytest.mark.parametrize("block", [ResidualBlock, BottleneckBlock])
@pytest.mark.parametrize("training", [False, True])
def test_a_new_block_is_its_shortcut(block: type, ratios: dict, training: bool) -> None:
    """The last gamma of the branch starts at zero, so the branch adds nothing."""
    x = RNG.standard_normal((4, 6, 6, 8))
    projecting = block(4, strides=2, use_projection=True, dtype="float64", **ratios)
    y = projecting(x, training=training)
    np.testing.assert_allclose(y, np.maximum(projecting.shortcut(x, training=training), 0.0), rtol=1e-12)

    plain = block(8 // block.expansion, dtype="float64", **ratios)
    np.testing.assert_allclose(plain(x, training=training), np.maximum(x, 0.0), rtol=1e-12)
    gammas = [v for v in plain.trainable_variables if v.name == "gamma"]
    assert sum(not np.any(gamma) for gamma in gammas) == 1
    assert not np.any(gammas[-1])


def test_deep_blocks_alone_have_selective_kernels() -> None:
    assert not any(isinstance(layer, SelectiveKernel) for layer in ResidualBlock(4, sk_ratio=0.0625).branch)
    assert any(isinstance(layer, SelectiveKernel) for layer in BottleneckBlock(4, sk_ratio=0.0625).branch)


@pytest.mark.parametrize(
    "kind, conv_side, pooled_side", [("cifar", 20, 20), ("imagenet", 10, 5), ("resnet_d", 10, 5)]
)
def test_stem_equals_numpy(kind: str, conv_side: int, pooled_side: int) -> None:
    x = RNG.random((2, 20, 20, 3))
    stem = Stem(8, kind, dtype="float64")
    stem.build(x.shape)
    _randomize(stem)
    initial_conv, y = stem(x, training=True)

    expected = x
    for i, (conv, norm) in enumerate(zip(stem.convs, stem.norms, strict=True)):
        strides = 2 if i == 0 and kind != "cifar" else 1
        convolved = _conv(expected, np.asarray(conv.kernel), strides)
        expected = _norm(convolved, norm, training=True)
    if kind != "cifar":  # SAME: one row and column, at the bottom and right only
        padded = np.pad(expected, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        expected = windows[:, ::2, ::2].max((-2, -1))
    np.testing.assert_allclose(initial_conv, convolved, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    assert initial_conv.shape[1] == conv_side
    assert y.shape[1] == pooled_side


@pytest.fixture
def channels_first() -> Iterator[None]:
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.mark.usefixtures("channels_first")
def test_gates_do_not_depend_on_the_data_format_of_keras() -> None:
    x = RNG.standard_normal((2, 5, 4, 8))
    layer = SqueezeExcitation(8, 0.5, dtype="float64")
    layer.build(x.shape)
    _randomize(layer)
    kernels = [np.asarray(part.kernel)[0, 0] for part in (layer.reduce, layer.expand)]
    biases = [np.asarray(part.bias) for part in (layer.reduce, layer.expand)]
    hidden = np.maximum(x.mean((1, 2)) @ kernels[0] + biases[0], 0.0)
    gates = 1 / (1 + np.exp(-hidden @ kernels[1] - biases[1]))
    np.testing.assert_allclose(layer(x), x * gates[:, np.newaxis, np.newaxis], rtol=1e-12)
