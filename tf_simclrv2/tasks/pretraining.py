"""Stage 1: contrastive pretraining without labels, with a linear classifier trained along to watch it."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data.blur import batch_random_blur
from tf_simclrv2.data.seeds import example_seeds
from tf_simclrv2.distribution import num_replicas, replica_id
from tf_simclrv2.models.momentum_encoder import MomentumEncoder
from tf_simclrv2.objectives.collapse import alignment, effective_rank, uniformity
from tf_simclrv2.objectives.contrastive import contrastive_accuracy, contrastive_entropy, nt_xent
from tf_simclrv2.objectives.memory import KeyQueue, nt_xent_with_memory
from tf_simclrv2.objectives.supervised import supervised_loss, top_k_correct
from tf_simclrv2.tasks.task import Scalars, Task
from tf_simclrv2.variable_paths import named_variables


class Pretraining(Task):
    """NT-Xent on two views of every image (SimCLRv2 section 2, step 1).

    Where the config has classes, a linear classifier learns from stop_gradient(h): its accuracy shows
    what the representation is worth, and the encoder does not see the labels.

    A batch is a dict of `view_1` and `view_2`, float [N, H, W, 3] in [0, 1], `label`, int [N] (where
    there is a classifier), and optionally `key`, int64 [N], which example this is: it seeds the blur.

    With `memory_size` a momentum encoder makes the keys, and past keys are negatives too
    (`objectives.memory`). Each step first moves the momentum encoder, then compares, then remembers: so
    `objective` changes both, and is to be called once a step.

    Example:
        >>> task = Pretraining(config)
        >>> task.compile(LARS(0.3))
        >>> task.fit(batches, steps_per_epoch=100)
        >>> h = task.network.resnet(images)["final_avg_pool"]
    """

    loss_names = ("contrast_loss",)
    metric_names = ("contrast_acc", "contrast_entropy", "alignment", "uniformity", "effective_rank")

    def __init__(self, config: ExperimentConfig, **kwargs) -> None:
        if config.model.num_classes:
            self.loss_names = (*self.loss_names, "supervised_loss")
            self.metric_names = (*self.metric_names, "supervised_acc")
        super().__init__(config, **kwargs)
        settings = config.objective
        self.momentum_encoder, self.queue = None, None
        if settings.memory_size:
            self.momentum_encoder = MomentumEncoder(
                self.network, settings.memory_decay, dtype=config.training.precision
            )
            self.queue = KeyQueue(
                settings.memory_size, self._key_width(), settings.hidden_norm, dtype=config.training.precision
            )

    def _key_width(self) -> int:
        head = self.network.projection_head
        return head.denses[-1].units if head.denses else self.network.resnet.features

    def memory(self) -> dict[str, keras.Variable]:
        if self.momentum_encoder is None or self.queue is None:
            return {}
        encoder = named_variables(self.momentum_encoder.network)
        return {
            **{f"encoder/{path}": variable for path, variable in encoder.items()},
            **{f"queue/{name}": getattr(self.queue, name) for name in ("keys", "pointer", "count")},
        }

    def objective(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        views = self.views(batch)
        endpoints = self.network(views, training=True, classify_detached=True)
        z = endpoints["proj_head_output"]
        z_1, z_2 = tf.split(z, 2)
        loss, logits, labels = self._contrast(views, z)
        losses = {"contrast_loss": loss}
        # Of this replica's rows; the means over replicas are what is logged.
        metrics = {
            "contrast_acc": contrastive_accuracy(logits, labels),
            "contrast_entropy": contrastive_entropy(logits),
            "alignment": alignment(z_1, z_2),
            "uniformity": (uniformity(z_1) + uniformity(z_2)) / 2.0,
            "effective_rank": effective_rank(z),
        }
        if "logits_sup" in endpoints:
            classes = tf.concat([batch["label"], batch["label"]], axis=0)
            losses["supervised_loss"] = supervised_loss(endpoints["logits_sup"], classes)
            metrics["supervised_acc"] = tf.reduce_mean(top_k_correct(endpoints["logits_sup"], classes, 1))
        return losses, metrics

    def _contrast(self, views: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Loss, logits and labels of NT-Xent, against the memory where there is one."""
        settings = self.config.objective
        if self.momentum_encoder is None or self.queue is None:
            return nt_xent(z, settings.temperature, settings.hidden_norm)
        self.momentum_encoder.follow(self.optimizer.iterations.value)
        keys = self.momentum_encoder(views)
        queue = tf.convert_to_tensor(self.queue.keys), tf.convert_to_tensor(self.queue.count)
        contrast = nt_xent_with_memory(z, keys, *queue, settings.temperature, settings.hidden_norm)
        self.queue.enqueue(keys)
        return contrast

    def views(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Both views, blurred if asked, all first views before all second ones: [2N, H, W, 3]."""
        views = {name: batch[name] for name in ("view_1", "view_2")}
        if self.config.data.use_blur:
            keys = self._keys(batch)
            views = {name: self._blur(view, keys, name) for name, view in views.items()}
        return tf.concat(list(views.values()), axis=0)

    def _keys(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        if "key" in batch:
            return batch["key"]
        n = tf.shape(batch["view_1"], out_type=tf.int64)[0]
        first = tf.cast(self.optimizer.iterations.value, tf.int64) * num_replicas() + tf.cast(
            replica_id(), tf.int64
        )
        return first * n + tf.range(n, dtype=tf.int64)

    def _blur(self, view: tf.Tensor, keys: tf.Tensor, name: str) -> tf.Tensor:
        seeds = example_seeds(self.config.training.seed, keys, f"{name}/blur")
        return batch_random_blur(view, seeds, self.config.model.image_size, self.config.data.blur_sigma)
