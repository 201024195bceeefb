"""Pictures for TensorBoard; the scalars are written by Orbit."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.tasks import Pretraining, Task

IMAGES_SHOWN = 8


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
