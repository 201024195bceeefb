"""What TensorBoard is shown: Orbit's scalars, which `metrics.jsonl` gets too, and what is not Orbit's."""

from __future__ import annotations

import dataclasses
from typing import Any

import orbit
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.tasks import Pretraining, Task
from tf_simclrv2.training.model_dir.metrics_log import TRAIN, MetricsLog

IMAGES_SHOWN = 8


class LoggedSummaries(orbit.utils.SummaryManager):
    """Orbit's writer of the training's scalars, which also logs them.

    Args:
        directory: Of the event file; None writes none.
        step: The step counter.
        log: Gets a line each time.
    """

    def __init__(self, directory: str | None, step: tf.Variable, log: MetricsLog) -> None:
        super().__init__(directory, tf.summary.scalar, global_step=step)
        self._step, self._log = step, log

    def write_summaries(self, summary_dict: dict[str, Any]) -> None:
        """Writes numbers by tag at the present step."""
        super().write_summaries(summary_dict)
        self._log.write(TRAIN, int(self._step.numpy()), summary_dict)


def write_views(directory: str, task: Task, batch: dict[str, tf.Tensor], step: int) -> None:
    """Writes a small batch as the network sees it, blur included.

    Args:
        directory: Of the event file.
        task: Blurs the views of pretraining.
        batch: As the task takes it.
        step: The step to write them at.
    """
    if isinstance(task, Pretraining):
        # Both views of an image side by side.
        views = tf.concat(tf.split(task.views(batch), 2), axis=2)
    else:
        views = batch["image"]
    writer = tf.summary.create_file_writer(directory, filename_suffix=".views")
    with writer.as_default():
        tf.summary.image("train/views", views, step=step, max_outputs=IMAGES_SHOWN)
    writer.close()


def write_scalars(directory: str, values: dict[str, float], step: int) -> None:
    """Writes numbers that no Orbit action brings, such as those of frozen features.

    Args:
        directory: Of the event file.
        values: By tag.
        step: The step to write them at.
    """
    writer = tf.summary.create_file_writer(directory, filename_suffix=".scalars")
    with writer.as_default():
        for tag, value in values.items():
            tf.summary.scalar(tag, value, step=step)
    writer.close()


def write_hparams(directory: str, config: ExperimentConfig) -> None:
    """Writes every setting for the HParams tab, by `<area>/<field>`.

    Args:
        directory: Of the event file.
        config: The run.
    """
    areas = dataclasses.asdict(config)
    values = {f"{area}/{name}": _plain(value) for area, part in areas.items() for name, value in part.items()}
    writer = tf.summary.create_file_writer(directory, filename_suffix=".hparams")
    with writer.as_default():
        hparams.hparams(values)
    writer.close()


def _plain(value: Any) -> bool | int | float | str:
    # The tab knows no other types.
    return value if isinstance(value, bool | int | float | str) else str(value)
