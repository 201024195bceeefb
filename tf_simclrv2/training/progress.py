"""The progress of training: a bar on a terminal; lines now and then where the output goes elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable

import tensorflow as tf
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """An Orbit train action that tells step, images per second, loss, accuracy and the time left.

    A bar on standard error where that is a terminal; a plain line every `SECONDS_BETWEEN_LINES` where
    standard output is none, as in a log.

    Args:
        total: Steps of the run.
        step: The step that the run starts at.
        batch_size: Images a step.
        global_step: The step counter.
        say: Where lines go.
    """

    def __init__(
        self,
        total: int,
        step: int,
        batch_size: int,
        global_step: tf.Variable,
        say: Callable[[str], None],
    ) -> None:
        self._bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            desc="train",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self._say = say
        self._lines = not sys.stdout.isatty()
        self._total = total
        self._batch_size = batch_size
        self._global_step = global_step
        self._step = self._line_step = step
        self._time = self._line_time = time.perf_counter()

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        step = int(self._global_step.numpy())
        now = time.perf_counter()
        shown = {"loss": output["train/total_loss"]}
        for name in ("contrast_acc", "supervised_acc"):
            if f"train/{name}" in output:
                shown[name] = output[f"train/{name}"]
        values = {name: f"{float(value):.3f}" for name, value in shown.items()}
        rate = (step - self._step) / (now - self._time)
        self._bar.set_postfix({"images/s": f"{rate * self._batch_size:.1f}", **values}, refresh=False)
        self._bar.update(step - self._step)
        self._step, self._time = step, now
        if self._lines and now - self._line_time >= SECONDS_BETWEEN_LINES:
            self._say(self._line(step, (step - self._line_step) / (now - self._line_time), values))
            self._line_step, self._line_time = step, now

    def _line(self, step: int, rate: float, values: dict[str, str]) -> str:
        left = datetime.timedelta(seconds=round((self._total - step) / rate))
        parts = [f"{rate * self._batch_size:.1f} images/s", *(f"{k} {v}" for k, v in values.items())]
        return f"step {step:,} of {self._total:,}: {', '.join(parts)}, {left} left"

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
