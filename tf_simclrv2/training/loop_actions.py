"""What happens between two loops of training steps: Orbit train actions, which get the loop's output."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.data import SkippedImages
from tf_simclrv2.training.model_dir.model_dir import ModelDir


class LastOutput:
    """Keeps the numbers of the last loop for the result.

    Attributes:
        values: By tag; empty before the first loop.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        self.values = {name: float(value) for name, value in output.items()}


class WriteSkippedImages:
    """Writes the names of unreadable images as they are found.

    Args:
        model_dir: Gets `skipped.txt`.
        skipped: Knows the names.
    """

    def __init__(self, model_dir: ModelDir, skipped: SkippedImages) -> None:
        self._model_dir = model_dir
        self._skipped = skipped

    def __call__(self, output: dict[str, tf.Tensor]) -> None:
        self._model_dir.write_skipped(self._skipped.names)
