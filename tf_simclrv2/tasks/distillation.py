"""Stage 3: a student learns from a fine-tuned teacher, on images that need no labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.models.untracked import Untracked
from tf_simclrv2.objectives.distillation import distillation_loss
from tf_simclrv2.objectives.supervised import accuracy, labeled_share, supervised_loss
from tf_simclrv2.tasks.task import Scalars, Task

Teacher = Callable[[tf.Tensor], tf.Tensor]


def no_teacher(images: tf.Tensor) -> tf.Tensor:
    """Stands for the teacher of a distillation that is only evaluated, or loaded from a file.

    Raises:
        ConfigError: It was asked.
    """
    raise ConfigError("the distillation is without its teacher; call set_teacher first.")


@keras.saving.register_keras_serializable("tf_simclrv2")
class Distillation(Task):
    """Trains a student on a teacher's predictions (equation 2) and, for α < 1, on labels too (equation 3).

        α · mean over `image` of -Σ_y P_teacher(y|x; τ) log P_student(y|x; τ)
          + (1 - α) · mean over `labeled_image` of -log P_student(label|x)

    A batch is a dict of `image`, float [N, H, W, 3] in [0, 1], and, for α < 1, `labeled_image`, float [M, H,
    W, 3], and `label`, int [M]. Teacher and student see the same crops of `image`; the teacher does not see
    `labeled_image`. The student takes both in one pass, so that the statistics of batch norm are those of
    all N + M images.

    Args:
        config: The configuration of the run; `config.distillation` holds τ and α.
        teacher: Maps images [N, H, W, 3] to logits [N, classes], in inference mode. It is not trained, and a
            `.keras` file does not hold it: call `set_teacher` after loading.

    Example:
        >>> task = Distillation(config, teacher=lambda images: module(images, training=False)["logits_sup"])
        >>> task.compile(LARS(0.1))
        >>> task.fit(batches, steps_per_epoch=100)

    Reference: SimCLRv2 section 2, step 3.
    """

    def __init__(self, config: ExperimentConfig, teacher: Teacher, **kwargs: Any) -> None:
        self.batch_names = ("image",)
        self.loss_names = ("distillation_loss",)
        self.metric_names = ("teacher_agreement",)
        if config.distillation.distill_alpha < 1.0:
            self.batch_names = (*self.batch_names, "labeled_image", "label")
            self.loss_names = (*self.loss_names, "supervised_loss")
            self.metric_names = (*self.metric_names, "supervised_acc")
        super().__init__(config, **kwargs)
        self.set_teacher(teacher)

    def set_teacher(self, teacher: Teacher) -> None:
        """Sets the teacher, which a task that was loaded from a `.keras` file lacks.

        Args:
            teacher: See the class.
        """
        self._teacher = Untracked(teacher)
        # Keras keeps what it has traced, with the teacher of that time.
        self.train_function = self.test_function = None

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Distillation:
        return super().from_config({**config, "teacher": no_teacher}, custom_objects)

    def objective(self, batch: dict[str, tf.Tensor], training: bool = True) -> tuple[Scalars, Scalars]:
        settings = self.config.distillation
        teacher_logits = tf.stop_gradient(self._teacher.value(batch["image"]))
        images = [batch[name] for name in ("image", "labeled_image") if name in batch]
        all_logits = self.network(tf.concat(images, axis=0), training=training)["logits_sup"]
        unlabeled = tf.shape(batch["image"])[0]
        logits, labeled = all_logits[:unlabeled], all_logits[unlabeled:]
        loss = distillation_loss(logits, teacher_logits, settings.distill_temperature)
        agrees = tf.equal(tf.argmax(logits, axis=1), tf.argmax(teacher_logits, axis=1))
        metrics = {"teacher_agreement": tf.reduce_mean(tf.cast(agrees, tf.float32))}
        losses = {"distillation_loss": settings.distill_alpha * loss}
        if settings.distill_alpha < 1.0:
            weight = 1.0 - settings.distill_alpha
            losses["supervised_loss"] = weight * supervised_loss(labeled, batch["label"])
            metrics["supervised_acc"] = accuracy(labeled, batch["label"])
            metrics["labeled_share"] = labeled_share(batch["label"])
        return losses, metrics
