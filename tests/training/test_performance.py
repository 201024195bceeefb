"""What is measured of the speed of training."""

import time

import pytest
import tensorflow as tf

from tf_simclrv2.training.performance import Performance

STEPS = 3


def sleepy(seconds: float, value: tf.Tensor) -> tf.Tensor:
    """The value, some time later."""

    def sleep(value: tf.Tensor) -> tf.Tensor:
        time.sleep(seconds)
        return value

    return tf.ensure_shape(tf.py_function(sleep, [value], value.dtype), value.shape)


@pytest.mark.parametrize(("data", "step"), [(0.3, 0.0), (0.0, 0.3)], ids=["slow data", "slow steps"])
def test_the_wait_for_data_is_told_from_the_step(data, step):
    performance = Performance(batch_size=8)
    batches = iter(tf.data.Dataset.range(STEPS).map(lambda value: sleepy(data, value)).prefetch(1))

    @tf.function
    def loop():
        for _ in tf.range(STEPS):
            sleepy(step, performance.next_batch(batches))

    performance.begin(10)
    loop()
    speed = performance.end(10 + STEPS)
    assert (speed["performance/data_wait"] > 0.5) == (data > step)
    assert 0 < speed["performance/examples_per_second"] < STEPS * 8 / (STEPS * 0.3) * 1.01


def test_without_a_clock_the_rest_is_measured():
    performance = Performance(batch_size=8, deterministic=True)
    performance.begin(0)
    assert int(performance.next_batch(iter(tf.data.Dataset.range(1)))) == 0
    assert set(performance.end(1)) == {"performance/examples_per_second", "performance/memory_mb"}
