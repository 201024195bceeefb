"""Tries some steps of a run and measures their time and memory; nothing is saved."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable

import tensorflow as tf

from tf_simclrv2.distribution.gpu_memory import GpuMemory, gpu_memory
from tf_simclrv2.doctor.machine import peak_resident_mb
from tf_simclrv2.progress import Say, track

# Steps that are not timed: in them, graphs are optimized and the pipeline fills its buffers.
WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Trial:
    """The time and memory of some training steps.

    Attributes:
        steps: The number of steps that were timed.
        first_step_s: Seconds of the first step, in which it is compiled; the graph was traced before.
        step_s: Median seconds of a step, including the wait for its batch.
        data_wait: Share of the time that was spent waiting for batches.
        examples_per_second: Images per second; an image counts once, although it is seen in two views.
        peak_mb: The most memory that this process has held.
        loss: The total loss that the last step reported.
        gpu_memory: What was in use on the GPU at the end, and at most; None without a GPU.
    """

    steps: int
    first_step_s: float
    step_s: float
    data_wait: float
    examples_per_second: float
    peak_mb: float
    loss: float
    gpu_memory: GpuMemory | None = None


def run_trial(
    step: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    batches: Iterable[dict[str, tf.Tensor]],
    batch_size: int,
    steps: int,
    say: Say | None = None,
) -> Trial:
    """Trains for some steps and measures them.

    Args:
        step: Takes a batch and returns the losses; `total_loss` is read.
        batches: At least `steps` batches.
        batch_size: Images per batch.
        steps: The number of steps, at least 1; the first `WARM_UP_STEPS` are not timed if there are more.
        say: Reports the progress; None reports nothing.
    """
    iterator = iter(batches)
    waits, times, loss = [], [], float("nan")
    for _ in track(range(steps), "trial, step", say):
        start = time.perf_counter()
        batch = next(iterator)
        waits.append(time.perf_counter() - start)
        loss = float(step(batch)["total_loss"])  # Waits until the step is done.
        times.append(time.perf_counter() - start)
    timed = slice(min(WARM_UP_STEPS, steps - 1), None)
    median = statistics.median(times[timed])
    return Trial(
        steps=len(times[timed]),
        first_step_s=times[0],
        step_s=median,
        data_wait=sum(waits[timed]) / sum(times[timed]),
        examples_per_second=batch_size / median,
        peak_mb=peak_resident_mb(),
        loss=loss,
        gpu_memory=gpu_memory(),
    )
