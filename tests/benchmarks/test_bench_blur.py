import numpy as np
import pytest
import tensorflow as tf

from benchmarks import blur
from tf_simclrv2.data import gaussian_blur


@pytest.mark.parametrize("sigmas", [0.7, [0.3, 1.0, 2.0]], ids=["one", "each"])
def test_the_depthwise_convolution_blurs_as_the_library_does(sigmas):
    images, sigmas = tf.random.uniform([3, 30, 26, 3], seed=1), tf.constant(sigmas)
    np.testing.assert_allclose(blur.depthwise(images, 5, sigmas), gaussian_blur(images, 5, sigmas), atol=1e-6)


def test_every_way_is_timed_compiled_and_not():
    results = blur.measure(tf.random.uniform([2, 30, 30, 3]), tf.constant([0.5, 1.5]), rounds=2)
    assert list(results) == [name + end for name in blur.WAYS for end in ("", ", compiled")]
    assert all(len(found["s"]) == 2 and min(found["s"]) > 0 for found in results.values())
    assert len(blur.table(results, 2).splitlines()) == 6


def test_ways_that_differ_are_refused(monkeypatch):
    monkeypatch.setitem(blur.WAYS, "wrong", lambda images, kernel_size, sigmas: images)
    with pytest.raises(SystemExit, match=r"wrong differs by .* from band matrices"):
        blur.measure(tf.random.uniform([2, 30, 30, 3]), tf.constant([1.5, 1.5]), rounds=1)
