"""What a trial makes of steps and batches whose times are known."""

import time
from collections.abc import Iterator

import pytest
import tensorflow as tf

from tf_simclrv2.doctor.trial import WARM_UP_STEPS, run_trial


def slow_batches(seconds: float) -> Iterator[dict[str, tf.Tensor]]:
    while True:
        time.sleep(seconds)
        yield {"image": tf.constant(1.0)}


def test_waiting_and_computing_are_told_apart():
    steps = 0

    def step(batch):
        nonlocal steps
        steps += 1
        time.sleep(1.0 if steps <= WARM_UP_STEPS else 0.1)
        return {"total_loss": tf.constant(float(steps))}

    trial = run_trial(step, slow_batches(0.3), batch_size=8, steps=4)
    assert steps == 4 and trial.steps == 2 and trial.loss == 4.0
    assert trial.first_step_s >= 1.3
    assert 0.4 <= trial.step_s < 0.9
    assert trial.examples_per_second == 8 / trial.step_s
    assert 0.5 < trial.data_wait < 0.95


@pytest.mark.parametrize("steps", [1, 2])
def test_few_steps_are_timed_all_the_same(steps):
    trial = run_trial(
        lambda batch: {"total_loss": batch["image"]}, slow_batches(0.0), batch_size=8, steps=steps
    )
    assert trial.steps == 1 and trial.step_s > 0 and trial.peak_mb > 100
