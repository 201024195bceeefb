"""A run's speed: examples per second, share of the time spent waiting for data, and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
import tensorflow as tf

from tf_simclrv2.distribution.gpu_memory import gpu_memory

MEGABYTE = 2**20
GPU_MEMORY, GPU_MEMORY_PEAK = "performance/gpu_memory_mb", "performance/gpu_memory_peak_mb"


class Performance:
    """Measures loops of training steps. Make it outside the strategy's scope: its clock is the host's alone.

    Args:
        batch_size: Examples a step.
        clock: Whether the wait for data is measured; True by default. Where ops must be deterministic it
            cannot be, for `tf.timestamp` is not.
    """

    def __init__(self, batch_size: int, clock: bool = True) -> None:
        self._batch_size = batch_size
        self._waited = None
        if clock:
            with tf.device("CPU:0"):
                self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="data_wait")
        self._steps_before = 0
        self._start = time.perf_counter()

    def begin(self, step: int) -> None:
        """Starts measuring a loop.

        Args:
            step: Steps done.
        """
        if self._waited is not None:
            self._waited.assign(0.0)
        self._steps_before = step
        self._start = time.perf_counter()

    def next_batch(self, iterator: Iterator[Any]) -> Any:
        """Takes the next batch and adds the time that it took, as part of a step's graph."""
        if self._waited is None:
            return next(iterator)
        before = tf.timestamp()
        with tf.control_dependencies([before]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            after = tf.timestamp()
        self._waited.assign_add(after - before)
        return batch

    def end(self, step: int) -> dict[str, float]:
        """Ends measuring a loop; returns its numbers by tag.

        Args:
            step: Steps done.
        """
        # First, for it waits for the device.
        waited = None if self._waited is None else float(self._waited.numpy())
        seconds = time.perf_counter() - self._start
        speed = {
            "performance/examples_per_second": (step - self._steps_before) * self._batch_size / seconds,
            "performance/memory_mb": psutil.Process().memory_info().rss / MEGABYTE,
        }
        if waited is not None:
            speed["performance/data_wait"] = min(waited / seconds, 1.0)
        if (memory := gpu_memory()) is not None:
            speed |= {GPU_MEMORY: memory.now_mb, GPU_MEMORY_PEAK: memory.peak_mb}
        return speed


def gpu_memory_in_words(output: Mapping[str, tf.Tensor]) -> dict[str, str]:
    """Returns what a progress line says of the GPU's memory; empty without a GPU.

    Args:
        output: Of a loop of steps, with the numbers of `Performance.end`.
    """
    if GPU_MEMORY not in output:
        return {}
    now, peak = (float(output[tag]) / 1024 for tag in (GPU_MEMORY, GPU_MEMORY_PEAK))
    return {"GPU memory": f"{now:.1f} GiB (peak {peak:.1f})"}
