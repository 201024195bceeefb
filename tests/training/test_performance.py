"""What is measured of the speed of training."""

import time
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tf_simclrv2.distribution.gpu_memory import GpuMemory
from tf_simclrv2.training import performance as measured
from tf_simclrv2.training.performance import (
    GPU_MEMORY,
    GPU_MEMORY_PEAK,
    Performance,
    gpu_memory_in_words,
)
from tf_simclrv2.training.progress import TrainingProgress

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
    performance = Performance(batch_size=8, clock=False)
    performance.begin(0)
    assert int(performance.next_batch(iter(tf.data.Dataset.range(1)))) == 0
    assert set(performance.end(1)) == {"performance/examples_per_second", "performance/memory_mb"}


def test_the_memory_of_a_gpu_is_measured_where_there_is_one(monkeypatch):
    monkeypatch.setattr(measured, "gpu_memory", lambda: GpuMemory(now_mb=512.0, peak_mb=2048.0))
    performance = Performance(batch_size=8)
    performance.begin(0)
    found = performance.end(1)
    assert found["performance/gpu_memory_mb"] == 512.0
    assert found["performance/gpu_memory_peak_mb"] == 2048.0
    output = {tag: tf.constant(value) for tag, value in found.items()}
    assert gpu_memory_in_words(output) == {"GPU memory": "0.5 GiB (peak 2.0)"}
    assert gpu_memory_in_words({"train/total_loss": tf.constant(1.0)}) == {}


def test_a_progress_line_tells_of_the_memory_of_a_gpu(monkeypatch):
    monkeypatch.setattr("tf_simclrv2.progress.SECONDS_BETWEEN_LINES", 0.0)
    lines, memory = [], {GPU_MEMORY: tf.constant(10_900.0), GPU_MEMORY_PEAK: tf.constant(11_400.0)}
    task = SimpleNamespace(
        loss_names=("contrast_loss",),
        global_step=tf.Variable(3),
        config=SimpleNamespace(images_per_step=8),
    )
    tell = TrainingProgress(task, total=9, start=0, say=lines.append)
    tell({"train/contrast_loss": tf.constant(2.0), **memory})
    assert "contrast_loss 2.000, GPU memory 10.6 GiB (peak 11.1), " in lines[0]
