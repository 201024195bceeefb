"""The progress bar of training; silent where there is no terminal."""

from __future__ import annotations

import sys
import time

import tensorflow as tf
from tqdm import tqdm


class Progress:
    """An Orbit train action that moves a bar: step, images per second, loss, accuracy, time left.

    Args:
        total: Steps of the run.
        step: The step that the run starts at.
        batch_size: Images a step.
        global_step: The step counter.
    """

    def __init__(self, total: int, step: int, batch_size: int, global_step: tf.Variable) -> None:
        self._bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            desc="train",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self._batch_size = batch_size
        self._global_step = global_step
        self._step = step
        self._start = time.perf_counter()

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        step = int(self._global_step.numpy())
        now = time.perf_counter()
        rate = (step - self._step) * self._batch_size / (now - self._start)
        shown = {"loss": output["train/total_loss"]}
        for name in ("contrast_acc", "supervised_acc"):
            if f"train/{name}" in output:
                shown[name] = output[f"train/{name}"]
        values = {name: f"{float(value):.3f}" for name, value in shown.items()}
        self._bar.set_postfix({"images/s": f"{rate:.1f}", **values}, refresh=False)
        self._bar.update(step - self._step)
        self._step, self._start = step, now

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
