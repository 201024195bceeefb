"""The progress of training, as an Orbit action."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.progress import Progress, Say


class TrainingProgress:
    """Shows step, images per second, loss, accuracy and the time left, as an Orbit train action.

    Args:
        total: Steps of the run.
        step: The step that the run starts at.
        batch_size: Images a step.
        global_step: The step counter.
        say: Where lines go.
    """

    def __init__(self, total: int, step: int, batch_size: int, global_step: tf.Variable, say: Say) -> None:
        self._progress = Progress(
            "step", total, say, start=step, unit="images", per_item=batch_size, leave=True
        )
        self._global_step = global_step

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        shown = {"loss": output["train/total_loss"]}
        for name in ("contrast_acc", "supervised_acc"):
            if f"train/{name}" in output:
                shown[name] = output[f"train/{name}"]
        words = {name: f"{float(value):.3f}" for name, value in shown.items()}
        self._progress.reach(int(self._global_step.numpy()), words)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._progress.close()
