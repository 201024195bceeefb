"""The learning rate (scaling with the batch size, warm-up, cosine decay) and the length of a run."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import OptimizerConfig, TrainingConfig

LINEAR_SCALING_BATCH = 256


def scaled_learning_rate(base: float, scaling: str, batch_size: int) -> float:
    """Computes the peak learning rate of a run.

    Args:
        base: The rate before scaling.
        scaling: `linear` (base · batch / 256) or `sqrt` (base · √batch).
        batch_size: Global batch size.

    Returns:
        The rate after warm-up.

    Reference: SimCLR section 2.2 and appendix B.1.
    """
    return base * (math.sqrt(batch_size) if scaling == "sqrt" else batch_size / LINEAR_SCALING_BATCH)


def total_steps(training: TrainingConfig, num_examples: int) -> int:
    """Computes the number of steps of a run: `train_steps` if set, else from the epochs.

    It is one more than the number of full batches in all epochs, as in the published code.

    Args:
        training: `train_steps`, `train_epochs` and `train_batch_size`.
        num_examples: Examples in an epoch.

    Returns:
        At least 1.
    """
    return training.train_steps or num_examples * training.train_epochs // training.train_batch_size + 1


@keras.saving.register_keras_serializable("tf_simclrv2")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Raises the rate linearly from 0 to the peak, then lowers it to 0 along half a cosine.

    Args:
        peak: Learning rate after warm-up.
        total_steps: Steps of the whole run; afterwards the rate stays 0.
        warmup_steps: Steps of warm-up, during which the rate rises from 0; 0 (the default) starts at the
            peak.

    Example:
        >>> float(WarmupCosine(peak=4.8, total_steps=1221, warmup_steps=122)(122))
        4.8...

    Reference: SimCLR section 2.2.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0) -> None:
        super().__init__()
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    @classmethod
    def from_config_values(
        cls, optimizer: OptimizerConfig, training: TrainingConfig, num_examples: int
    ) -> WarmupCosine:
        """Creates the schedule of a run.

        Args:
            optimizer: `learning_rate`, `learning_rate_scaling` and `warmup_epochs`.
            training: `train_steps`, `train_epochs` and `train_batch_size`.
            num_examples: Examples in an epoch.
        """
        return cls(
            scaled_learning_rate(
                optimizer.learning_rate, optimizer.learning_rate_scaling, training.train_batch_size
            ),
            total_steps(training, num_examples),
            int(optimizer.warmup_epochs * num_examples / training.train_batch_size),
        )

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warmup = self.peak * step / max(self.warmup_steps, 1)
        decay_steps = max(self.total_steps - self.warmup_steps, 1)
        progress = tf.clip_by_value((step - self.warmup_steps) / decay_steps, 0.0, 1.0)
        cosine = self.peak * 0.5 * (1.0 + tf.cos(math.pi * progress))
        return tf.where(step < self.warmup_steps, warmup, cosine)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup_steps": self.warmup_steps}
