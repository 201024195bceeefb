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
from tf_simclrv2.errors import ConfigError, ExportError
from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.keras_file import KerasFileModel
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.objectives.supervised import supervised_losses, top_k_correct
from tf_simclrv2.optimization.lars import LARS
from tf_simclrv2.optimization.optimizers import inner_optimizer
from tf_simclrv2.optimization.overflow import overflow_together
from tf_simclrv2.optimization.parameter_groups import exclude_from_lars, parameter_groups
from tf_simclrv2.optimization.weight_decay import weight_decay_loss
from tf_simclrv2.tasks.class_counts import ClassCounts
from tf_simclrv2.tasks.microbatches import Microbatches

IMAGE_RANK = 4
# Metrics that are means over some of the rows, and the share of these rows: their weight among batches.
SHARES = {"supervised_acc": "labeled_share"}

Scalars = dict[str, tf.Tensor]
# One for each trainable variable; None for one that the loss does not depend on.
Gradients = list[tf.Tensor | None]


class Task(KerasFileModel):
    """Trains a network: the training step, the evaluation step and the metrics that all stages share.

    `train_step` is the whole step. Orbit's loop calls it under `strategy.run`, and so does Keras's `fit`;
    both give the same weights. Calling the task calls its network. A `.keras` file of a compiled task holds
    what training needs to continue. A stage overrides `objective` and names its losses and metrics.

    Args:
        config: The configuration of the run.

    Attributes:
        network: The `SimCLR` that is trained; it is built already.
        loss_names: Names of the losses that `objective` returns.
        metric_names: Names of its metrics that are logged.
        batch_names: Names of the entries of a batch that it reads.
    """

    batch_names: tuple[str, ...] = ()
    loss_names: tuple[str, ...] = ()
    metric_names: tuple[str, ...] = ()
    _chose_jit_compile = False

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
        self.class_counts = None
        if self.network.supervised_head is not None:
            self.class_counts = ClassCounts(
                config.model.num_classes, name="balanced_accuracy", dtype=self._loss_dtype
            )
            names = ("label_top_1_accuracy", "label_top_5_accuracy", "supervised_loss")
            self.eval_means = {name: self._mean(name) for name in names}
        self.eval_means["regularization_loss"] = self._mean("regularization_loss")
        freeze_new_parts(self)

    def _mean(self, name: str) -> keras.metrics.Mean:
        return keras.metrics.Mean(name, dtype=self._loss_dtype)

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Sets the optimizer, makes the exclusions of LARS, and creates the optimizer's state.

        Call it in the strategy's scope.

        Args:
            optimizer: The optimizer. A LARS that is built, or was told what to exclude, keeps the exclusions
                that it has.
            **kwargs: Further arguments of `keras.Model.compile`. `jit_compile` follows from
                `config.training.compile` by default.

        Raises:
            ConfigError: The optimizer accumulates the gradients of several steps.
        """
        optimizer = keras.optimizers.get(optimizer)  # Keras takes names, too.
        inner = inner_optimizer(optimizer)
        if inner.gradient_accumulation_steps:
            raise ConfigError(
                f"gradient_accumulation_steps of the optimizer is {inner.gradient_accumulation_steps}, but a "
                "task counts and schedules every step; leave it unset and set microbatch_size in the config, "
                "which accumulates the gradients of one step."
            )
        if isinstance(inner, LARS) and not inner.built and not inner.has_exclusions:
            exclude_from_lars(inner, parameter_groups(self.network))
        self.compile_mode = start_compiling(self.config.training.compile)
        self._chose_jit_compile = "jit_compile" in kwargs
        kwargs.setdefault("jit_compile", self.compile_mode == "xla")
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.network.trainable_variables)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if not self._chose_jit_compile:  # It depends on the devices where the file will be loaded.
            config.pop("jit_compile", None)
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # It follows from the config of the run.
        return {**config, "config": self.config.to_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Task:
        run = ExperimentConfig.from_json(config["config"])
        return super().from_config({**config, "config": run}, custom_objects)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Raises an error that names what exports a task's network.

        Raises:
            ExportError: Always.
        """
        raise ExportError(
            f"Keras's export does not write a {type(self).__name__}; write its network with "
            "save_module(task.network, PATH), or export the run with python -m export."
        )

    @property
    def global_step(self) -> tf.Variable:
        """Returns the variable that counts the steps done, int64; it exists after `compile`."""
        return self.optimizer.iterations.value

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        counts = [] if self.class_counts is None else [self.class_counts]
        return [*self.train_means.values(), *self.eval_means.values(), *counts]

    def call(self, images: tf.Tensor, training: bool = False) -> Scalars:
        return self.network(images, training=training)

    def objective(self, batch: dict[str, tf.Tensor], training: bool = True) -> tuple[Scalars, Scalars]:
        """Computes the losses and metrics of this replica's batch.

        Args:
            batch: See the class of the stage.
            training: If False, the network runs in inference mode, and no variable is changed.

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
        """Computes the weight-decay term of the loss, a scalar.

        It leaves out what the optimizer decays itself; before `compile`, that is the config's optimizer.
        """
        settings, optimizer = self.config.optimizer, getattr(self, "optimizer", None)
        by_lars = settings.optimizer == "lars"
        if optimizer is not None:
            by_lars = isinstance(inner_optimizer(optimizer), LARS)
        return weight_decay_loss(parameter_groups(self.network), settings.weight_decay, by_lars)

    @tf.autograph.experimental.do_not_convert  # Branches are ops already; converting takes seconds.
    def train_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """Makes one training step on this replica's part of the global batch.

        Args:
            batch: See the class of the stage.

        Returns:
            Means of the losses and metrics since they were last reset, by name.

        Raises:
            ConfigError: The batch is not a dict, or lacks an entry.
            tf.errors.InvalidArgumentError: Images are not in [0, 1].
        """
        self._check_entries(batch, "train on", "trains on batches of")
        for tensor in batch.values():
            if tensor.shape.rank == IMAGE_RANK:
                check_unit_range(tensor)
        scalars, gradients = self.gradients(batch)
        gradients = overflow_together(self.at_their_own_rates(gradients, scalars), self.optimizer)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        return self._update_means(scalars)

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Gradients]:
        """Computes this replica's share of the gradients of the global loss, and the scalars to log.

        With `microbatch_size` the batch is processed in parts. Each part has its own batch-norm statistics
        and moves the moving ones. Given those statistics, losses and gradients are those of the whole batch.
        In pretraining the two views of an image are in different parts.

        Args:
            batch: See the class of the stage.

        Returns:
            Losses, metrics and `total_loss` by name; and a gradient for each trainable variable, which the
            optimizer sums over the replicas, or None if the loss does not depend on the variable.
        """
        if self.config.training.parts > 1:
            return self._accumulated_gradients(batch)
        with tf.GradientTape() as tape:
            losses, metrics = self.objective(batch)
            losses["weight_decay"] = self.weight_decay()
            total = self._sum(losses.values())
            scaled = self._scale(total)
        return {**losses, **metrics, "total_loss": total}, tape.gradient(scaled, self._weights)

    def at_their_own_rates(self, gradients: Gradients, scalars: Scalars) -> Gradients:
        """Scales the gradients of variables whose learning rate is not the optimizer's; here there are none.

        Args:
            gradients: From `gradients`.
            scalars: From `gradients` too.
        """
        del scalars
        return gradients

    def _accumulated_gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Gradients]:
        parts = Microbatches(batch, self.config.training.parts)
        with tf.GradientTape() as tape:
            decay = self.weight_decay()
            scaled = self._scale(decay)
        scalars, gradients = self.accumulate(parts, tape.gradient(scaled, self._weights))
        scalars["weight_decay"] = decay
        scalars["total_loss"] = self._sum(scalars[name] for name in (*self.loss_names, "weight_decay"))
        return scalars, gradients

    def accumulate(self, parts: Microbatches, gradients: Gradients) -> tuple[Scalars, Gradients]:
        """Computes the losses and metrics of a batch in parts, and adds their gradients.

        This one is for an objective that is a mean over examples; other stages override it.

        Args:
            parts: The batch.
            gradients: For each trainable variable, the gradient to add to; None for none.

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
        gradients: Gradients,
    ) -> tuple[Scalars, Gradients]:
        """Processes the parts one after the other, averages their scalars and adds up their gradients.

        Args:
            parts: The batch.
            loss_of: Maps the number of a part to its loss, already scaled, and to its scalars.
            names: Names of the scalars to average.
            gradients: For each trainable variable, the gradient to add to; None for none.

        Returns:
            The means by name, and the gradients. A variable without one before and in every part has None.
        """
        shares = {name: SHARES[name] for name in names if name in SHARES}
        names = (*names, *shares.values())
        connected = {j for j, gradient in enumerate(gradients) if gradient is not None}

        def add(i: tf.Tensor, sums: tuple[Scalars, list[tf.Tensor]]) -> tuple[Scalars, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                loss, scalars = loss_of(i)
            scalars |= {name: scalars[name] * scalars[share] for name, share in shares.items()}
            means = {name: tf.cast(scalars[name], self._loss_dtype) / parts.count for name in names}
            found = tape.gradient(loss, self._weights)
            connected.update(j for j, gradient in enumerate(found) if gradient is not None)
            return tf.nest.map_structure(tf.add, sums, (means, self._or_zeros(found)))

        zeros = {name: tf.zeros([], self._loss_dtype) for name in names}
        scalars, summed = parts.fold(add, (zeros, self._or_zeros(gradients)))
        # A zero would be decayed; without parts, what has no gradient stays as it is.
        gradients = [gradient if j in connected else None for j, gradient in enumerate(summed)]
        by_share = {
            name: tf.math.divide_no_nan(scalars[name], scalars[share]) for name, share in shares.items()
        }
        return {**scalars, **by_share}, gradients

    @property
    def _weights(self) -> list[tf.Variable]:
        return [variable.value for variable in self.network.trainable_variables]

    def _or_zeros(self, gradients: Gradients) -> list[tf.Tensor]:
        pairs = zip(gradients, self._weights, strict=True)
        return [tf.zeros_like(weight) if gradient is None else gradient for gradient, weight in pairs]

    def _sum(self, losses: Iterable[tf.Tensor]) -> tf.Tensor:
        return tf.add_n([tf.cast(loss, self._loss_dtype) for loss in losses])

    def _scale(self, loss: tf.Tensor) -> tf.Tensor:
        """Divides a loss by the number of replicas, whose gradients will be summed, and scales it."""
        return self.optimizer.scale_loss(loss / num_replicas())

    @property
    def _loss_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def evaluate(self, x: Any = None, *args: Any, return_dict: bool = False, **kwargs: Any) -> Any:
        """Evaluates the network in inference mode; see `test_step` for the batches and what is measured.

        Args:
            x: A finite `tf.data.Dataset` of batches, or any with `steps`.
            *args: Further arguments of `keras.Model.evaluate`.
            return_dict: Whether to return the results by name; False (Keras's default) returns a list of
                them, or a single one, without names.
            **kwargs: Further arguments of `keras.Model.evaluate`.

        Returns:
            Means over all batches. As in the evaluation of a run, an accuracy is left out if no row has a
            label.

        Raises:
            ConfigError: `x` is endless, as batches for training are, and there is no `steps`; or its batches
                hold nothing that can be evaluated.

        Example:
            >>> task.evaluate(evaluation_batches(source, 32, 64), return_dict=True)
            {'label_top_1_accuracy': 0.91, 'label_top_5_accuracy': 0.99, 'supervised_loss': 0.3, ...}
        """
        endless = isinstance(x, tf.data.Dataset) and int(x.cardinality()) == tf.data.INFINITE_CARDINALITY
        if endless and kwargs.get("steps") is None:
            raise ConfigError("the batches to evaluate are endless; pass steps=N to evaluate N of them.")
        found = super().evaluate(x, *args, return_dict=True, **kwargs)
        means = (*self.train_means.values(), *self.eval_means.values())
        seen = dict.fromkeys(mean.name for mean in means if float(tf.convert_to_tensor(mean.count.value)))
        found = {name: found[name] for name in seen if name in found}
        if self.class_counts is not None and "label_top_1_accuracy" in found:
            found[self.class_counts.name] = float(self.class_counts.result())
        if return_dict:
            return found
        return next(iter(found.values())) if len(found) == 1 else list(found.values())

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: dict[str, tf.Tensor]) -> Scalars:
        """Evaluates one batch, in inference mode.

        Args:
            batch: `image` float [N, H, W, 3], `label` int [N] and, if the batch is padded, `mask` bool [N].
                Rows with a negative label are ignored, as padding is. Or a batch as for training.

        Returns:
            Means by name since they were last reset: the accuracy and the loss of the classifier and the
            weight decay (`regularization_loss`); or, for a batch as for training, the losses and metrics of
            training.

        Raises:
            ConfigError: The batch holds neither.
        """
        names = batch.keys() if isinstance(batch, dict) else ()
        if {"image", "label"} <= set(names) and "labeled_image" not in names:
            return self._test_classifier(batch)
        self._check_entries(batch, "evaluate", "evaluates batches of image and label, or of")
        return self._test_objective(batch)

    def _check_entries(self, batch: Any, use: str, takes: str) -> None:
        """Raises an error, in words for this use, if a batch lacks an entry that training reads."""
        names = batch.keys() if isinstance(batch, dict) else ()
        if not set(self.batch_names) <= set(names):
            shown = ", ".join(names) or f"a {type(batch).__name__}, not a dict"
            taken = f"{type(self).__name__} {takes} {', '.join(self.batch_names)}"
            raise ConfigError(f"the batch to {use} holds {shown}; {taken}.")

    def _test_classifier(self, batch: dict[str, tf.Tensor]) -> Scalars:
        if self.class_counts is not None:
            labels = batch["label"]
            mask = tf.cast(batch.get("mask", True) & (labels >= 0), tf.float32)
            logits = self.network(batch["image"], training=False)["logits_sup"]
            correct = {k: top_k_correct(logits, labels, k) for k in (1, 5)}
            for k, rows in correct.items():
                self.eval_means[f"label_top_{k}_accuracy"].update_state(rows, sample_weight=mask)
            self.class_counts.update_state(correct[1], labels, sample_weight=mask)
            losses = supervised_losses(logits, labels)
            self.eval_means["supervised_loss"].update_state(losses, sample_weight=mask)
        self.eval_means["regularization_loss"].update_state(self.weight_decay())
        return {name: mean.result() for name, mean in self.eval_means.items()}

    def _test_objective(self, batch: dict[str, tf.Tensor]) -> Scalars:
        losses, metrics = self.objective(batch, training=False)
        losses["weight_decay"] = self.weight_decay()
        scalars = {**losses, **metrics, "total_loss": self._sum(losses.values())}
        # The last batch may be smaller.
        rows = tf.cast(tf.shape(batch[self.batch_names[0]])[0], self._loss_dtype)
        return self._update_means(scalars, rows)

    def _update_means(self, scalars: Scalars, rows: tf.Tensor | None = None) -> Scalars:
        """Adds the scalars of a batch to the means, weighted by its number of rows, and returns the means."""
        for name, mean in self.train_means.items():
            weight = scalars.get(SHARES.get(name, ""))
            if rows is not None:
                weight = rows if weight is None else rows * tf.cast(weight, rows.dtype)
            mean.update_state(scalars[name], sample_weight=weight)
        return {name: mean.result() for name, mean in self.train_means.items()}
