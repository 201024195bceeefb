"""A training stage: a network, a loss, and the step that two drivers share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data.augmentation import check_unit_range
from tf_simclrv2.distribution import num_replicas
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.objectives.supervised import top_k_correct
from tf_simclrv2.optimization.lars import LARS
from tf_simclrv2.optimization.parameter_groups import exclude_from_lars, parameter_groups
from tf_simclrv2.optimization.weight_decay import weight_decay_loss

IMAGE_RANK = 4

Scalars = dict[str, tf.Tensor]


class Task(keras.Model):
    """What the stages share: one training step, one evaluation step and their metrics.

    `train_step` is all of a step. Orbit's loop calls it under `strategy.run`, and so does Keras's
    `fit`; both give the same weights. Calling the task calls its network.

    Args:
        config: The run.

    Attributes:
        network: The `SimCLR` that is trained, already built.
    """

    loss_names: tuple[str, ...] = ()
    metric_names: tuple[str, ...] = ()

    def __init__(self, config: ExperimentConfig, **kwargs: Any) -> None:
        super().__init__(dtype=config.training.precision, **kwargs)
        self.config = config
        self.network = SimCLR(config.model, name="simclr", dtype=config.training.precision)
        self.network.build((None, config.model.image_size, config.model.image_size, 3))
        self.built = True
        names = (*self.loss_names, *self.metric_names, "weight_decay", "total_loss")
        self.train_means = {name: self._mean(name) for name in names}
        self.eval_means = {}
        if self.network.supervised_head is not None:
            self.eval_means = {
                name: self._mean(name) for name in ("label_top_1_accuracy", "label_top_5_accuracy")
            }
        self.eval_means["regularization_loss"] = self._mean("regularization_loss")

    def _mean(self, name: str) -> keras.metrics.Mean:
        return keras.metrics.Mean(name, dtype=self._loss_dtype)

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Sets the optimizer, frees the right parameters from LARS, and creates the optimizer's state."""
        if isinstance(optimizer, LARS) and not optimizer.built:
            exclude_from_lars(optimizer, parameter_groups(self.network))
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.network.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self.train_means.values(), *self.eval_means.values()]

    def call(self, images: tf.Tensor, training: bool = False) -> Scalars:
        return self.network(images, training=training)

    def objective(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        """The losses of this replica's batch, which are added up, and further metrics, by name."""
        raise NotImplementedError(type(self).__name__)

    def memory(self) -> dict[str, keras.Variable]:
        """What must be saved beside the network and the optimizer, by path."""
        return {}

    def weight_decay(self) -> tf.Tensor:
        """The weight-decay term of the loss."""
        settings = self.config.optimizer
        return weight_decay_loss(parameter_groups(self.network), settings.weight_decay, settings.optimizer)

    def train_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """One step on this replica's part of the global batch.

        Args:
            batch: As the stage's `objective` takes it.

        Returns:
            Means of the losses and metrics since they were reset.

        Raises:
            tf.errors.InvalidArgumentError: Images are not in [0, 1].
        """
        variables = self.network.trainable_variables
        for tensor in batch.values():
            if tensor.shape.rank == IMAGE_RANK:
                check_unit_range(tensor)
        with tf.GradientTape() as tape:
            losses, metrics = self.objective(batch)
            losses["weight_decay"] = self.weight_decay()
            total = tf.add_n([tf.cast(loss, self._loss_dtype) for loss in losses.values()])
            # The optimizer sums gradients over the replicas, so each brings its share of their mean.
            scaled = self.optimizer.scale_loss(total / num_replicas())
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        self.optimizer.apply(gradients, variables)
        for name, value in {**losses, **metrics, "total_loss": total}.items():
            self.train_means[name].update_state(value)
        return {name: mean.result() for name, mean in self.train_means.items()}

    @property
    def _loss_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def test_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """One step of evaluation.

        Args:
            batch: `image` float [N, H, W, 3], `label` int [N] and, where the batch is padded, `mask`
                bool [N].

        Returns:
            Means of the evaluation metrics since they were reset.
        """
        if self.network.supervised_head is not None:
            labels = batch["label"]
            mask = tf.cast(batch.get("mask", tf.ones_like(labels, tf.bool)), tf.float32)
            logits = self.network(batch["image"], training=False)["logits_sup"]
            for k in (1, 5):
                correct = top_k_correct(logits, labels, k)
                self.eval_means[f"label_top_{k}_accuracy"].update_state(correct, sample_weight=mask)
        self.eval_means["regularization_loss"].update_state(self.weight_decay())
        return {name: mean.result() for name, mean in self.eval_means.items()}
