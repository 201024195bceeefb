"""A training stage: a network, its losses, and the step that Orbit and Keras's `fit` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data.augmentation import check_unit_range
from tf_simclrv2.distribution.collectives import num_replicas
from tf_simclrv2.distribution.compilation import start_compiling
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.objectives.supervised import top_k_correct
from tf_simclrv2.optimization.lars import LARS
from tf_simclrv2.optimization.overflow import overflow_together
from tf_simclrv2.optimization.parameter_groups import exclude_from_lars, parameter_groups
from tf_simclrv2.optimization.weight_decay import weight_decay_loss
from tf_simclrv2.tasks.microbatches import Microbatches

IMAGE_RANK = 4
# Metrics that are means over some of the rows, and the share of these rows: their weight among batches.
SHARES = {"supervised_acc": "labeled_share"}

Scalars = dict[str, tf.Tensor]


class Task(keras.Model):
    """Trains a network: the training step, the evaluation step and the metrics that all stages share.

    `train_step` is the whole step. Orbit's loop calls it under `strategy.run`, and so does Keras's `fit`;
    both give the same weights. Calling the task calls its network. A stage overrides `objective` and names
    its losses and metrics.

    Args:
        config: The configuration of the run.

    Attributes:
        network: The `SimCLR` that is trained; it is built already.
        loss_names: Names of the losses that `objective` returns.
        metric_names: Names of its metrics that are logged.
    """

    loss_names: tuple[str, ...] = ()
    metric_names: tuple[str, ...] = ()

    def __init__(self, config: ExperimentConfig, **kwargs: Any) -> None:
        super().__init__(dtype=config.training.precision, **kwargs)
        self.config = config
        self.network = SimCLR(
            config.model,
            rematerialize=config.training.rematerialize,
            name="simclr",
            dtype=config.training.precision,
        )
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
        """Sets the optimizer, makes the exclusions of LARS, and creates the optimizer's state.

        Call it in the strategy's scope.

        Args:
            optimizer: The optimizer; LARS must not be built yet, or it keeps the exclusions that it has.
            **kwargs: Further arguments of `keras.Model.compile`. `jit_compile` follows from
                `config.training.compile` by default.
        """
        if isinstance(optimizer, LARS) and not optimizer.built:
            exclude_from_lars(optimizer, parameter_groups(self.network))
        self.compile_mode = start_compiling(self.config.training.compile)
        kwargs.setdefault("jit_compile", self.compile_mode == "xla")
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.network.trainable_variables)

    @property
    def global_step(self) -> tf.Variable:
        """Returns the variable that counts the steps done, int64; it exists after `compile`."""
        return self.optimizer.iterations.value

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self.train_means.values(), *self.eval_means.values()]

    def call(self, images: tf.Tensor, training: bool = False) -> Scalars:
        return self.network(images, training=training)

    def objective(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        """Computes the losses and metrics of this replica's batch.

        Args:
            batch: See the class of the stage.

        Returns:
            Losses by name, whose sum is minimized, and metrics by name.
        """
        raise NotImplementedError(type(self).__name__)

    def gauges(self) -> Scalars:
        """Computes scalars, by name, that are needed only when they are logged, not in every step."""
        return {}

    def checkpoint_state(self) -> dict[str, keras.Variable]:
        """Returns the variables, by path, that a checkpoint needs in addition to network and optimizer.

        A checkpoint holds them under `memory/`.
        """
        return {}

    def weight_decay(self) -> tf.Tensor:
        """Computes the weight-decay term of the loss, a scalar."""
        settings = self.config.optimizer
        return weight_decay_loss(parameter_groups(self.network), settings.weight_decay, settings.optimizer)

    @tf.autograph.experimental.do_not_convert  # Branches are ops already; converting takes seconds.
    def train_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """Makes one training step on this replica's part of the global batch.

        Args:
            batch: See the class of the stage.

        Returns:
            Means of the losses and metrics since they were last reset, by name.

        Raises:
            tf.errors.InvalidArgumentError: Images are not in [0, 1].
        """
        for tensor in batch.values():
            if tensor.shape.rank == IMAGE_RANK:
                check_unit_range(tensor)
        scalars, gradients = self.gradients(batch)
        gradients = overflow_together(gradients, self.optimizer)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        for name, mean in self.train_means.items():
            mean.update_state(scalars[name], sample_weight=scalars.get(SHARES.get(name, "")))
        return {name: mean.result() for name, mean in self.train_means.items()}

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, list[tf.Tensor]]:
        """Computes this replica's share of the gradients of the global loss, and the scalars to log.

        With `microbatch_size` the batch is processed in parts. Each part has its own batch-norm statistics
        and moves the moving ones. Given those statistics, losses and gradients are those of the whole batch.
        In pretraining the two views of an image are in different parts.

        Args:
            batch: See the class of the stage.

        Returns:
            Losses, metrics and `total_loss` by name; and a gradient for each trainable variable, which the
            optimizer sums over the replicas.
        """
        if self.config.training.microbatch_size:
            return self._accumulated_gradients(batch)
        with tf.GradientTape() as tape:
            losses, metrics = self.objective(batch)
            losses["weight_decay"] = self.weight_decay()
            total = self._sum(losses.values())
            scaled = self._scale(total)
        return {**losses, **metrics, "total_loss": total}, tape.gradient(scaled, self._weights)

    def _accumulated_gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, list[tf.Tensor]]:
        training = self.config.training
        parts = Microbatches(batch, training.train_batch_size // training.microbatch_size)
        with tf.GradientTape() as tape:
            decay = self.weight_decay()
            scaled = self._scale(decay)
        gradients = tape.gradient(scaled, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        scalars, gradients = self.accumulate(parts, gradients)
        scalars["weight_decay"] = decay
        scalars["total_loss"] = self._sum(scalars[name] for name in (*self.loss_names, "weight_decay"))
        return scalars, gradients

    def accumulate(self, parts: Microbatches, gradients: list[tf.Tensor]) -> tuple[Scalars, list[tf.Tensor]]:
        """Computes the losses and metrics of a batch in parts, and adds their gradients.

        This one is for an objective that is a mean over examples; other stages override it.

        Args:
            parts: The batch.
            gradients: For each trainable variable, the gradient to add to.

        Returns:
            Losses and metrics by name, and the gradients.
        """

        def loss_of(i: tf.Tensor) -> tuple[tf.Tensor, Scalars]:
            losses, metrics = self.objective(parts[i])
            return self._scale(self._sum(losses.values()) / parts.count), {**losses, **metrics}

        return self.add_up(parts, loss_of, (*self.loss_names, *self.metric_names), gradients)

    def add_up(
        self,
        parts: Microbatches,
        loss_of: Callable[[tf.Tensor], tuple[tf.Tensor, Scalars]],
        names: tuple[str, ...],
        gradients: list[tf.Tensor],
    ) -> tuple[Scalars, list[tf.Tensor]]:
        """Processes the parts one after the other, averages their scalars and adds up their gradients.

        Args:
            parts: The batch.
            loss_of: Maps the number of a part to its loss, already scaled, and to its scalars.
            names: Names of the scalars to average.
            gradients: For each trainable variable, the gradient to add to.

        Returns:
            The means by name, and the gradients.
        """
        shares = {name: SHARES[name] for name in names if name in SHARES}
        names = (*names, *shares.values())

        def add(i: tf.Tensor, sums: tuple[Scalars, list[tf.Tensor]]) -> tuple[Scalars, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                loss, scalars = loss_of(i)
            scalars |= {name: scalars[name] * scalars[share] for name, share in shares.items()}
            means = {name: tf.cast(scalars[name], self._loss_dtype) / parts.count for name in names}
            return tf.nest.map_structure(tf.add, sums, (means, tape.gradient(loss, self._weights)))

        zeros = {name: tf.zeros([], self._loss_dtype) for name in names}
        scalars, gradients = parts.fold(add, (zeros, gradients))
        by_share = {
            name: tf.math.divide_no_nan(scalars[name], scalars[share]) for name, share in shares.items()
        }
        return {**scalars, **by_share}, gradients

    @property
    def _weights(self) -> list[tf.Variable]:
        return [variable.value for variable in self.network.trainable_variables]

    def _sum(self, losses: Iterable[tf.Tensor]) -> tf.Tensor:
        return tf.add_n([tf.cast(loss, self._loss_dtype) for loss in losses])

    def _scale(self, loss: tf.Tensor) -> tf.Tensor:
        """Divides a loss by the number of replicas, whose gradients will be summed, and scales it."""
        return self.optimizer.scale_loss(loss / num_replicas())

    @property
    def _loss_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """Evaluates one batch.

        Args:
            batch: `image` float [N, H, W, 3], `label` int [N] and, if the batch is padded, `mask` bool [N].
                Rows with a negative label are ignored, as padding is.

        Returns:
            Means of the evaluation metrics since they were last reset, by name.
        """
        if self.network.supervised_head is not None:
            labels = batch["label"]
            mask = tf.cast(batch.get("mask", True) & (labels >= 0), tf.float32)
            logits = self.network(batch["image"], training=False)["logits_sup"]
            for k in (1, 5):
                correct = top_k_correct(logits, labels, k)
                self.eval_means[f"label_top_{k}_accuracy"].update_state(correct, sample_weight=mask)
        self.eval_means["regularization_loss"].update_state(self.weight_decay())
        return {name: mean.result() for name, mean in self.eval_means.items()}
