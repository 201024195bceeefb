"""What a run has measured on its validation images, by which it may stop early."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.files import VALIDATION_FILE, read_json, write_json


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        step: The step.
        epoch: Epochs until then.
        value: The top-1 accuracy.
        seconds: How long it took.
    """

    step: int
    epoch: float
    value: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Measurements:
    """All measurements of a run, in the order of their steps; they were made in the same way.

    Attributes:
        metric: What was measured.
        split: The split expression of the images.
        images: How many there are.
        made: The measurements.
        stopped_early: The step at which the run was stopped by them, and its patience; None if it was not.
    """

    metric: str
    split: str
    images: int
    made: tuple[Measurement, ...] = ()
    stopped_early: dict[str, int] | None = None

    @classmethod
    def read(cls, model_dir: str) -> Measurements | None:
        """Reads `validation.json`; returns None if it is not there, or cannot be read."""
        try:
            values = read_json(os.path.join(model_dir, VALIDATION_FILE))
            made = tuple(Measurement(**measurement) for measurement in values.pop("measurements"))
            return cls(**values, made=made)
        except (ValueError, TypeError, KeyError, tf.errors.OpError):
            return None

    def write(self, model_dir: str) -> None:
        """Writes `validation.json`."""
        values: dict[str, Any] = dataclasses.asdict(self)
        values["measurements"] = values.pop("made")
        write_json(os.path.join(model_dir, VALIDATION_FILE), values)

    def until(self, step: int) -> Measurements:
        """Returns the measurements up to a step, of a run that continues from there."""
        made = tuple(measurement for measurement in self.made if measurement.step <= step)
        return dataclasses.replace(self, made=made, stopped_early=None)

    def and_then(self, measurement: Measurement) -> Measurements:
        """Returns these and one more."""
        return dataclasses.replace(self, made=(*self.made, measurement))

    def after(self, step: int) -> int:
        """Returns how many measurements were made after a step."""
        return sum(measurement.step > step for measurement in self.made)

    def has(self, step: int) -> bool:
        """Returns whether a step was measured."""
        return any(measurement.step == step for measurement in self.made)
