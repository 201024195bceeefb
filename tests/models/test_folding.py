import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.models import folding
from tf_simclrv2.models.batch_norm import EPSILON, BatchNormRelu
from tf_simclrv2.models.conv import Conv2DFixedPadding


def layers(kernel_size: int, strides: int, relu: bool, center: bool, dtype: str = "float32") -> tuple:
    """A convolution of 3 channels to 5 and its batch norm, with statistics as after some training."""
    conv = Conv2DFixedPadding(5, kernel_size, strides, dtype=dtype)
    norm = BatchNormRelu(relu=relu, center=center, dtype=dtype)
    conv.build((None, None, None, 3))
    norm.build((None, None, None, 5))
    random = np.random.default_rng(0)
    for variable in norm.variables:
        variable.assign(
            random.uniform(0.5, 2.0, 5)
            * random.choice([1.0, 1.0 if "variance" in variable.name else -1.0], 5)
        )
    return conv, norm


def reference(conv: Conv2DFixedPadding, norm: BatchNormRelu, x: np.ndarray) -> np.ndarray:
    """By the definition, in float64."""
    kernel = conv.kernel.numpy().astype(np.float64)
    side, strides = conv.kernel_size, conv.strides
    padded = np.pad(x.astype(np.float64), [(0, 0), ((side - 1) // 2,) * 2, ((side - 1) // 2,) * 2, (0, 0)])
    height = -(-x.shape[1] // strides)
    y = np.zeros([len(x), height, height, 5])
    for i in range(height):
        for j in range(height):
            window = padded[:, i * strides : i * strides + side, j * strides : j * strides + side]
            y[:, i, j] = np.tensordot(window, kernel, 3)
    y = (y - norm.moving_mean.numpy()) / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + EPSILON)
    y = y * norm.gamma.numpy() + (0.0 if norm.beta is None else norm.beta.numpy())
    return np.maximum(y, 0.0) if norm.relu else y


@pytest.mark.parametrize("worth_it", [True, False])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "relu", "center"),
    [(3, 1, True, True), (3, 2, False, True), (1, 2, True, False)],
)
def test_inference_is_the_convolution_and_then_the_norm(
    kernel_size, strides, relu, center, worth_it, monkeypatch
):
    monkeypatch.setattr(folding, "_is_worth_it", lambda *_: worth_it)
    conv, norm = layers(kernel_size, strides, relu, center)
    x = np.random.default_rng(1).normal(size=[2, 7, 7, 3]).astype(np.float32)
    found = folding.convolve_and_normalize(conv, norm, tf.constant(x), training=False)
    np.testing.assert_allclose(found, reference(conv, norm, x), rtol=1e-4, atol=1e-5)


def test_half_precision_stays_near_the_reference():
    conv, norm = layers(3, 1, True, True, "mixed_bfloat16")
    x = np.random.default_rng(1).normal(size=[2, 9, 9, 3]).astype(np.float32)
    x = tf.cast(x, tf.bfloat16)
    assert folding._is_worth_it(conv, x)
    found = folding.convolve_and_normalize(conv, norm, x, training=False)
    assert found.dtype == tf.bfloat16
    expected = reference(conv, norm, tf.cast(x, tf.float32).numpy())
    np.testing.assert_allclose(tf.cast(found, tf.float32), expected, atol=0.02 * np.abs(expected).max())


def test_training_uses_and_moves_the_statistics():
    conv, norm = layers(3, 1, False, True)
    before = norm.moving_mean.numpy()
    x = tf.random.stateless_normal([4, 9, 9, 3], [0, 1])
    y = folding.convolve_and_normalize(conv, norm, x, training=True)
    np.testing.assert_allclose(tf.reduce_mean(y, [0, 1, 2]), norm.beta.numpy(), atol=1e-4)
    assert np.abs(norm.moving_mean.numpy() - before).min() > 0


@pytest.mark.parametrize(
    ("side", "folded"),
    [(2, True), (1, False), (None, False)],
)
@pytest.mark.parametrize("batch_size", [1, 64, None])
def test_few_outputs_must_be_at_least_as_large_as_the_kernel(side, folded, batch_size):
    conv, _ = layers(3, 1, True, True)  # 27 values a filter, 8 outputs of a position each.
    x = tf.keras.Input([side, side, 3], batch_size=batch_size)
    assert folding._is_worth_it(conv, x) == folded
