"""Some steps of a run, tried: how fast they are, and what memory they take. Nothing is kept of them."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterable

import tensorflow as tf
from tqdm import tqdm

from tf_simclrv2.doctor.machine import peak_resident_mb

# Steps that are not counted: graphs are optimized, and the pipeline fills its buffers.
WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Trial:
    """What some steps took.

    Attributes:
        steps: How many were timed.
        first_step_s: Seconds of the first step; the graph was traced before.
        step_s: Median seconds of a step, with the wait for its batch.
        data_wait: Share of the time that was spent waiting for batches.
        examples_per_second: Images a second; an image counts once, though it is seen in two views.
        peak_mb: The most memory that this process has held.
        loss: Of the last step; the mean over the steps.
    """

    steps: int
    first_step_s: float
    step_s: float
    data_wait: float
    examples_per_second: float
    peak_mb: float
    loss: float


def run_trial(
    step: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    batches: Iterable[dict[str, tf.Tensor]],
    batch_size: int,
    steps: int,
) -> Trial:
    """Trains for some steps.

    Args:
        step: From a batch to the means of the losses.
        batches: Endless batches.
        batch_size: Images in each.
        steps: At least 1; beyond the first `WARM_UP_STEPS` they are timed.
    """
    iterator = iter(batches)
    waits, times, loss = [], [], float("nan")
    for _ in tqdm(range(steps), desc="trial", unit="step", disable=not sys.stderr.isatty()):
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
    )
