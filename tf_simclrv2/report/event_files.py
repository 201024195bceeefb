"""Reads the scalars in TensorBoard's event files."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import tensorflow as tf
from tensorflow.core.util import event_pb2

_PREFIX = "events.out.tfevents."


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A number over training steps.

    Attributes:
        steps: int64 [N], rising.
        values: float64 [N].
        times: float64 [N], seconds since 1970.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


def event_files(directory: str) -> list[str]:
    """Returns the paths of the event files in a directory, which need not exist, sorted."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    return [os.path.join(directory, name) for name in sorted(names) if name.startswith(_PREFIX)]


def read_scalars(directory: str) -> tuple[dict[str, Scalar], tuple[str, ...]]:
    """Reads the event files in a directory, but not in its subdirectories.

    If a resumed run wrote a step again, the later value counts.

    Returns:
        Scalars by tag, and the names of files whose end could not be read, because they are still being
        written or damaged.
    """
    points: dict[str, dict[int, tuple[float, float]]] = {}
    torn = []
    for path in event_files(directory):
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                event = event_pb2.Event.FromString(record)
                for value in event.summary.value:
                    number = _number(value)
                    if number is not None:
                        points.setdefault(value.tag, {})[event.step] = number, event.wall_time
        except tf.errors.OpError:
            torn.append(os.path.basename(path))
    return {tag: _scalar(by_step) for tag, by_step in points.items()}, tuple(torn)


def _number(value: tf.compat.v1.Summary.Value) -> float | None:
    if value.WhichOneof("value") == "simple_value":
        return value.simple_value
    if value.metadata.plugin_data.plugin_name != "scalars":
        return None
    return float(tf.make_ndarray(value.tensor))


def _scalar(by_step: dict[int, tuple[float, float]]) -> Scalar:
    steps = sorted(by_step)
    values, times = zip(*(by_step[step] for step in steps), strict=True)
    return Scalar(np.array(steps), np.array(values), np.array(times))
