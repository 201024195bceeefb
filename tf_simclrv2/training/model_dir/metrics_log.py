"""`metrics.jsonl`: every number that TensorBoard is shown, a line of JSON each time."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, SupportsFloat

import tensorflow as tf

from tf_simclrv2.directory_lock import waiting_lock
from tf_simclrv2.errors import RunError
from tf_simclrv2.files import METRICS_FILE, write_atomically

TRAIN, VALIDATION = "train", "validation"


class MetricsLog:
    """The lines of a run: for each log (`train`, `validation`, `eval`) and step at most one.

    A line holds `log`, `step`, `epoch` and the numbers by tag; a number that is not finite is null. An
    evaluation may write while the training continues.

    Args:
        model_dir: The run's directory.
        epoch: Returns the epoch of a step.
        chief: False for workers that write nothing.

    Example:
        >>> MetricsLog("runs/digits", plan.epoch).write("train", 20, {"train/total_loss": 1.5})
        >>> pandas.read_json("runs/digits/metrics.jsonl", lines=True)
    """

    def __init__(self, model_dir: str, epoch: Callable[[int], float], chief: bool = True) -> None:
        self._path = os.path.join(model_dir, METRICS_FILE)
        self._lock = os.path.join(model_dir, f".{METRICS_FILE}.lock")
        self._epoch = epoch
        self._chief = chief
        # The last step of each log that only this program writes, after which a line can be appended.
        self._last: dict[str, int] = {}

    def begin(self, step: int) -> None:
        """Drops the lines after the step from which training continues, and any that a kill cut off."""
        if self._chief and tf.io.gfile.exists(self._path):
            with waiting_lock(self._lock):
                self._rewrite([line for line in self._lines() if line["step"] <= step])
        self._last = {TRAIN: step, VALIDATION: step}

    def write(self, log: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Adds a line, or replaces that of the same log and step.

        Args:
            log: What was measured.
            step: The step.
            values: Numbers by tag.

        Raises:
            RunError: The file cannot be written.
        """
        if not self._chief:
            return
        numbers = {tag: _number(value) for tag, value in values.items()}
        line = {"log": log, "step": step, "epoch": round(self._epoch(step), 6), **numbers}
        try:
            self._add(line, log, step)
        except (tf.errors.OpError, OSError) as error:
            reason = " ".join(getattr(error, "message", str(error)).split())
            raise RunError(
                f"{self._path} cannot be written ({reason}); free some disk space and run the command again."
            ) from error

    def _add(self, line: dict[str, Any], log: str, step: int) -> None:
        with waiting_lock(self._lock):
            if step > self._last.get(log, math.inf):
                with tf.io.gfile.GFile(self._path, "a") as file:
                    file.write(json.dumps(line) + "\n")
            else:
                others = [other for other in self._lines() if (other["log"], other["step"]) != (log, step)]
                self._rewrite([*others, line])
        if log in self._last:
            self._last[log] = max(step, self._last[log])

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not tf.io.gfile.exists(self._path):
            return
        with tf.io.gfile.GFile(self._path, "rb") as file:
            for text in file.read().splitlines():
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict) and {"log", "step"} <= line.keys():
                        yield line

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        write_atomically(self._path, "".join(f"{json.dumps(line)}\n" for line in lines))


def _number(value: SupportsFloat) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
