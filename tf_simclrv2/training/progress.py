"""The progress of training, as an Orbit action."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from tf_simclrv2.progress import Progress, Say
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.performance import gpu_memory_in_words


class TrainingProgress:
    """Shows step, images per second, what the network learns by, and the time left, as an Orbit train action.

    The loss is the first one of the task. The total also holds the loss of pretraining's online classifier,
    which the network does not learn from. With a GPU, its memory in use and the peak are shown too.

    Args:
        task: The task that is trained; compiled.
        total: Steps of the run.
        start: The step that the run starts at.
        say: Where lines go, also from another thread.
        look: Whether the step may be read within a loop of steps.
        more: Returns names and values of what else is known.
    """

    def __init__(
        self,
        task: Task,
        total: int,
        start: int,
        say: Say,
        look: bool = False,
        more: Callable[[], Mapping[str, str]] = lambda: {},
    ) -> None:
        self._task = task
        self._more = more
        self._progress = Progress(
            "step",
            total,
            say,
            start=start,
            unit="images",
            per_item=task.config.images_per_step,
            leave=True,
            look=self._step if look else None,
        )

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        names = (self._task.loss_names[0], "contrast_acc", "supervised_acc")
        shown = {name: output[f"train/{name}"] for name in names if f"train/{name}" in output}
        words = {name: f"{float(value):.3f}" for name, value in shown.items()}
        words |= {**self._more(), **gpu_memory_in_words(output)}
        self._progress.reach(self._step(), words)

    def _step(self) -> int:
        return int(self._task.global_step.numpy())

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._progress.close()
