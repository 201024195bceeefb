"""Stage 1: contrastive pretraining without labels, monitored by an online linear classifier."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data.blur import batch_random_blur
from tf_simclrv2.data.seeds import example_seeds
from tf_simclrv2.distribution.collectives import cross_replica_mean, num_replicas, replica_id
from tf_simclrv2.models.momentum_encoder import MomentumEncoder
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.objectives.collapse import collapse_gauges
from tf_simclrv2.objectives.contrastive import contrastive_accuracy, contrastive_entropy, nt_xent
from tf_simclrv2.objectives.memory_bank import KeyQueue, nt_xent_with_memory_bank
from tf_simclrv2.objectives.supervised import accuracy, curvature_bound, labeled_share, supervised_loss
from tf_simclrv2.optimization.optimizers import steps_scale_with_gradients
from tf_simclrv2.precision import full_precision
from tf_simclrv2.tasks.last_projections import LastProjections
from tf_simclrv2.tasks.microbatches import Microbatches, join_views
from tf_simclrv2.tasks.task import Gradients, Scalars, Task


def _advance_second_views(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Moves the second views one row up, so that no part of the batch holds both views of an image.

    A part takes every `count`-th row. The key and the label of each second view move with it, as `key_2` and
    `label_2`.
    """
    names = {"view_2": "view_2", "key": "key_2", "label": "label_2"}
    ahead = {names[name]: tf.roll(rows, -1, axis=0) for name, rows in batch.items() if name in names}
    return {**batch, **ahead}


def _restore_second_views(rows: tf.Tensor) -> tf.Tensor:
    """Undoes `_advance_second_views` for rows of both views, all first views before all second views."""
    first, second = tf.split(rows, 2)
    return tf.concat([first, tf.roll(second, 1, axis=0)], axis=0)


@keras.saving.register_keras_serializable("tf_simclrv2")
class Pretraining(Task):
    """Trains with NT-Xent on two views of every image (SimCLRv2 section 2, step 1).

    If the config has classes, an online linear classifier learns from stop_gradient(h): its accuracy shows
    how useful the representation is, and the encoder does not see the labels. Its learning rate depends on
    `online_learning_rate` and on its features; at the network's rate, its loss would grow to thousands. The
    momentum is the network's. It has a rate of its own with LARS and SGD that do not clip gradients.

    A batch is a dict of `view_1` and `view_2`, float [N, H, W, 3] in [0, 1], `label`, int [N] (if there is a
    classifier), and optionally `key`, int64 [N], the position of each example in the stream, which seeds the
    blur.

    With `memory_size` above 0, a momentum encoder computes the keys, and a memory bank of past keys provides
    further negatives (`objectives.memory_bank`). Each step first updates the momentum encoder, then computes
    the loss, then enqueues the keys: `objective` changes both and must be called once per step.

    Args:
        config: The configuration of the run.

    Example:
        >>> task = Pretraining(config)
        >>> task.compile(LARS(0.3))
        >>> task.fit(batches, steps_per_epoch=100)
        >>> h = task.network.resnet(images)["final_avg_pool"]
    """

    batch_names = ("view_1", "view_2")
    loss_names = ("contrast_loss",)
    metric_names = ("contrast_acc", "contrast_entropy")

    def __init__(self, config: ExperimentConfig, **kwargs) -> None:
        if config.model.num_classes:
            self.batch_names = (*self.batch_names, "label")
            self.loss_names = (*self.loss_names, "supervised_loss")
            self.metric_names = (*self.metric_names, "supervised_acc")
        super().__init__(config, **kwargs)
        settings = config.objective
        self._last: LastProjections | None = None
        self.momentum_encoder, self.queue = None, None
        if settings.memory_size:
            self.momentum_encoder = MomentumEncoder(
                self.network,
                settings.memory_decay,
                name="momentum_encoder",
                dtype=config.training.precision,
            )
            self.queue = KeyQueue(
                settings.memory_size,
                self._key_width(),
                settings.hidden_norm,
                name="queue",
                dtype=config.training.precision,
            )

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        super().compile(optimizer, **kwargs)
        rows = 2 * self.config.training.train_batch_size // num_replicas()
        self._last = LastProjections(rows, self._key_width(), self._loss_dtype)

    def gauges(self) -> Scalars:
        """Computes alignment, uniformity and effective rank of the last step's projections on all replicas.

        They are computed on the host, where an eigendecomposition costs least.

        Returns:
            Scalars by name; empty until a step has had as many images as the config says.
        """
        if self._last is None or not self._last.kept:
            return {}
        z = self._last.of_all_replicas()
        with tf.device("CPU:0"):
            return collapse_gauges(*tf.split(z, 2))

    def _key_width(self) -> int:
        head = self.network.projection_head
        return head.denses[-1].units if head.denses else self.network.resnet.features

    def checkpoint_state(self) -> dict[str, keras.Variable]:
        if self.momentum_encoder is None or self.queue is None:
            return {}
        encoder = named_variables(self.momentum_encoder.network)
        return {
            **{f"encoder/{path}": variable for path, variable in encoder.items()},
            **{f"queue/{name}": getattr(self.queue, name) for name in ("keys", "pointer", "count")},
        }

    def objective(self, batch: dict[str, tf.Tensor], training: bool = True) -> tuple[Scalars, Scalars]:
        if training:
            self._follow()
        views = self.views(batch)
        endpoints = self.network(views, training=training, classify_detached=True)
        z, keys = endpoints["proj_head_output"], self._momentum_keys(views, training)
        losses, metrics = self._contrast(z, keys, training)
        seen_losses, seen_metrics = self._classify(endpoints, batch)
        return {**losses, **seen_losses}, {**metrics, **seen_metrics}

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Gradients]:
        # Within a part the position of an example in the batch is no longer known.
        batch = {**batch, "key": self._example_keys(batch)}
        if self.config.training.parts > 1:
            batch = _advance_second_views(batch)
        return super().gradients(batch)

    def accumulate(self, parts: Microbatches, gradients: Gradients) -> tuple[Scalars, Gradients]:
        """Accumulates gradients in two passes, so that every part is contrasted with the whole batch.

        The first pass computes all projections, the second one goes through the parts again, each with the
        gradient of its projections. Memory holds the activations of one part. The two views of an image are
        in different parts: sharing batch-norm statistics, which most negatives do not, would reveal which
        views belong together (SimCLR appendix B.9).

        Args:
            parts: The batch.
            gradients: For each trainable variable, the gradient to add to; None for none.

        Returns:
            Losses and metrics by name, and the gradients.

        Reference: Gao et al. 2021, arXiv 2101.06983.
        """
        self._follow()
        z, keys = self._project(parts)
        with tf.GradientTape() as tape:
            tape.watch(z)
            losses, metrics = self._contrast(z, keys)
            scaled = self._scale(self._sum(losses.values()))
        z_1, z_2 = tf.split(tape.gradient(scaled, z), 2)
        cotangents = Microbatches(_advance_second_views({"view_1": z_1, "view_2": z_2}), parts.count)

        def loss_of(i: tf.Tensor) -> tuple[tf.Tensor, Scalars]:
            endpoints = self.network(self.views(parts[i]), training=True, classify_detached=True)
            cotangent = tf.concat(list(cotangents[i].values()), axis=0)
            # Its gradient is that of the contrastive loss; its value has no meaning.
            product = full_precision(endpoints["proj_head_output"]) * full_precision(cotangent)
            losses, metrics = self._classify(endpoints, parts[i])
            classification = [self._scale(loss / parts.count) for loss in losses.values()]
            return self._sum([tf.reduce_sum(product), *classification]), {**losses, **metrics}

        names = ("supervised_loss", "supervised_acc", "classifier_curvature")
        names = names if self.network.supervised_head is not None else ()
        seen, gradients = self.add_up(parts, loss_of, names, gradients)
        return {**losses, **metrics, **seen}, gradients

    def _project(self, parts: Microbatches) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Computes the projections and, with a memory bank, the momentum keys of all parts."""

        def project(i: tf.Tensor, found: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            views = self.views(parts[i])
            # The second pass moves the moving statistics.
            endpoints = self.network(views, training=True, update_statistics=False)
            new = {"z": endpoints["proj_head_output"]}
            keys = self._momentum_keys(views)
            new |= {"keys": keys} if keys is not None else {}
            # Scattering has no kernel for bfloat16 on a GPU.
            here = tf.range(parts.count)[:, tf.newaxis, tf.newaxis] == i
            return {name: tf.where(here, new[name], found[name]) for name in new}

        rows = 2 * tf.shape(parts[0]["view_1"])[0]
        empty = tf.zeros([parts.count, rows, self._key_width()], self.network.compute_dtype)
        found = parts.fold(project, {"z": empty} if self.queue is None else {"z": empty, "keys": empty})
        found = {name: _restore_second_views(join_views(value)) for name, value in found.items()}
        return found["z"], found.get("keys")

    def _follow(self) -> None:
        """Moves the momentum encoder if there is one; once a step."""
        if self.momentum_encoder is not None:
            self.momentum_encoder.follow(self.global_step)

    def _momentum_keys(self, views: tf.Tensor, training: bool = True) -> tf.Tensor | None:
        return None if self.momentum_encoder is None else self.momentum_encoder(views, training=training)

    def _contrast(
        self, z: tf.Tensor, keys: tf.Tensor | None, training: bool = True
    ) -> tuple[Scalars, Scalars]:
        """Computes NT-Xent, against the memory bank if there is one, and the metrics of the projections.

        In training, the keys are enqueued, and the projections are kept for the gauges.
        """
        settings = self.config.objective
        if keys is None or self.queue is None:
            loss, logits, labels = nt_xent(z, settings.temperature, settings.hidden_norm)
        else:
            queue = tf.convert_to_tensor(self.queue.keys), tf.convert_to_tensor(self.queue.count)
            loss, logits, labels = nt_xent_with_memory_bank(
                z, keys, *queue, settings.temperature, settings.hidden_norm
            )
            if training:
                self.queue.enqueue(keys)
        if training and self._last is not None and self._last.fits(z):
            self._last.keep(z)
        # Of this replica's rows; the means over replicas are what is logged.
        return {"contrast_loss": loss}, {
            "contrast_acc": contrastive_accuracy(logits, labels),
            "contrast_entropy": contrastive_entropy(logits),
        }

    def _classify(self, endpoints: Scalars, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        """Computes the loss and the metrics of the online classifier if there is one."""
        if "logits_sup" not in endpoints:
            return {}, {}
        logits = endpoints["logits_sup"]
        features = endpoints[f"proj_head_{self.config.model.classifier_layer}"]
        classes = tf.concat([batch["label"], batch.get("label_2", batch["label"])], axis=0)
        return {"supervised_loss": supervised_loss(logits, classes)}, {
            "supervised_acc": accuracy(logits, classes),
            "labeled_share": labeled_share(classes),
            "classifier_curvature": curvature_bound(features, logits, classes),
        }

    def at_their_own_rates(self, gradients: Gradients, scalars: Scalars) -> Gradients:
        """Scales the gradients of the online classifier, so that it learns at `online_learning_rate`.

        The optimizer multiplies by its own rate, by which they are divided here. So they share its state, and
        a checkpoint holds the same variables whatever the rates. With an optimizer that would undo a factor,
        such as Adam, or that clips gradients, the classifier learns at the network's rate.
        """
        rate = self.config.optimizer.online_learning_rate
        if self.network.supervised_head is None or not rate:
            return gradients
        if not steps_scale_with_gradients(self.optimizer):
            return gradients
        # A batch without labels has no curvature, and no gradient.
        curvature = cross_replica_mean(scalars["classifier_curvature"])
        wanted = tf.math.divide_no_nan(tf.cast(rate, curvature.dtype), curvature)
        common = tf.cast(self.optimizer.learning_rate, wanted.dtype)
        # A warm-up begins with a common rate of 0.
        factor = tf.math.divide_no_nan(wanted, common)
        own = {variable.path for variable in self.network.supervised_head.trainable_variables}
        return [
            gradient * tf.cast(factor, gradient.dtype) if variable.path in own else gradient
            for gradient, variable in zip(gradients, self.network.trainable_variables, strict=True)
        ]

    def views(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns both views, blurred if the config asks for it.

        Args:
            batch: See the class.

        Returns:
            [2N, H, W, 3]: all first views, then all second views.
        """
        views = {name: batch[name] for name in ("view_1", "view_2")}
        if self.config.data.use_blur:
            key = self._example_keys(batch)
            keys = {"view_1": key, "view_2": batch.get("key_2", key)}
            views = {name: self._blur(view, keys[name], name) for name, view in views.items()}
        return tf.concat(list(views.values()), axis=0)

    def _example_keys(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        if "key" in batch:
            return batch["key"]
        n = tf.shape(batch["view_1"], out_type=tf.int64)[0]
        first = tf.cast(self.global_step, tf.int64) * num_replicas() + tf.cast(replica_id(), tf.int64)
        return first * n + tf.range(n, dtype=tf.int64)

    def _blur(self, view: tf.Tensor, keys: tf.Tensor, name: str) -> tf.Tensor:
        seeds = example_seeds(self.config.training.seed, keys, f"{name}/blur")
        return batch_random_blur(view, seeds, self.config.model.image_size, self.config.data.blur_sigma)
