import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.models import kernel_gradient as module
from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.rehearsal.refusals import graphs_of


def reference(x: np.ndarray, dy: np.ndarray, kernel_size: int) -> np.ndarray:
    """By the definition: every output position adds the window that it saw, times what it receives."""
    before = kernel_size // 2
    padded = np.pad(x, [(0, 0), (before, before), (before, before), (0, 0)])
    gradient = np.zeros([kernel_size, kernel_size, x.shape[-1], dy.shape[-1]])
    for image, row, column in np.ndindex(dy.shape[:3]):
        window = padded[image, row : row + kernel_size, column : column + kernel_size]
        gradient += window[..., np.newaxis] * dy[image, row, column]
    return gradient


@pytest.mark.parametrize(("kernel_size", "height", "width"), [(1, 5, 4), (3, 5, 4), (5, 2, 7), (3, 1, 1)])
def test_products_are_the_gradient_by_definition(kernel_size, height, width):
    random = np.random.default_rng(0)
    x, dy = random.normal(size=[2, height, width, 3]), random.normal(size=[2, height, width, 4])
    found = module.kernel_gradient(tf.constant(x), tf.constant(dy), kernel_size)
    np.testing.assert_allclose(found, reference(x, dy, kernel_size), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_the_convolution_is_differentiated_as_tensorflow_does(kernel_size):
    random = np.random.default_rng(0)
    x, kernel = (
        tf.constant(random.normal(size=size)) for size in ([2, 5, 5, 3], [kernel_size, kernel_size, 3, 4])
    )
    results = []
    for convolve in (module.conv2d_by_products, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME")):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch([x, kernel])
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                y = convolve(x, kernel)
                loss = tf.reduce_sum(y**3)
            first = tape.gradient(loss, [x, kernel])
        results.append([y, *first, *outer.gradient(first[1], [x, kernel])])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kernel_size", "strides", "side", "dtype", "cpu", "products"),
    [
        (3, 1, 8, "mixed_bfloat16", True, True),
        (1, 1, 20, "mixed_bfloat16", True, True),
        (3, 1, 9, "mixed_bfloat16", True, False),
        (3, 2, 8, "mixed_bfloat16", True, False),
        (1, 2, 8, "mixed_bfloat16", True, False),
        (3, 1, 8, "float32", True, False),
        (3, 1, 8, "mixed_bfloat16", False, False),
        (1, 1, None, "mixed_bfloat16", True, False),
    ],
)
def test_both_ways_agree_and_the_device_chooses(
    kernel_size, strides, side, dtype, cpu, products, monkeypatch
):
    conv = Conv2DFixedPadding(16, kernel_size, strides, dtype=dtype)
    conv.build((None, None, None, 24))
    x = np.random.default_rng(0).normal(size=[4, side or 6, side or 6, 24]).astype(np.float32)

    def gradient(cpu: bool) -> tuple[tf.Tensor, set[str]]:
        monkeypatch.setattr(devices, "on_cpu", lambda: cpu)

        @tf.function(input_signature=[tf.TensorSpec([None, side, side, 24], conv.compute_dtype)])
        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.cast(conv(x), tf.float32) ** 2)
            return tape.gradient(loss, conv.kernel.value)

        operations = {
            operation.type
            for graph in graphs_of(step.get_concrete_function().graph)
            for operation in graph.get_operations()
        }
        return step(tf.cast(x, conv.compute_dtype)), operations

    (found, operations), (plain, _) = gradient(cpu), gradient(False)
    assert ("Conv2DBackpropFilter" not in operations) == products
    assert found.dtype == plain.dtype == tf.float32
    # A CPU without bfloat16 units adds up in bfloat16 in its own operation, so it is no reference for ours.
    want = _in_float64(conv, tf.cast(x, conv.compute_dtype)) if products else plain
    np.testing.assert_allclose(found, want, rtol=0.02, atol=0.02 * np.abs(want).max())


def _in_float64(conv: Conv2DFixedPadding, x: tf.Tensor) -> np.ndarray:
    """The gradient of the sum of squares of a convolution of stride 1, from its output in half precision."""
    dy = tf.cast(2.0 * tf.cast(conv(x), tf.float32), x.dtype)
    return tf.raw_ops.Conv2DBackpropFilter(
        input=tf.cast(x, tf.float64),
        filter_sizes=conv.kernel.shape,
        out_backprop=tf.cast(dy, tf.float64),
        strides=[1, 1, 1, 1],
        padding="SAME",
    ).numpy()
