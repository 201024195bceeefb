"""Stage 1: contrastive pretraining without labels, with a linear classifier trained along to watch it."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data.blur import batch_random_blur
from tf_simclrv2.data.seeds import example_seeds
from tf_simclrv2.distribution import num_replicas, replica_id
from tf_simclrv2.objectives.contrastive import contrastive_accuracy, contrastive_entropy, nt_xent
from tf_simclrv2.objectives.supervised import supervised_loss, top_k_correct
from tf_simclrv2.tasks.task import Scalars, Task


class Pretraining(Task):
    """NT-Xent on two views of every image (SimCLRv2 section 2, step 1).

    Where the config has classes, a linear classifier learns from stop_gradient(h): its accuracy shows
    what the representation is worth, and the encoder does not see the labels.

    A batch is a dict of `view_1` and `view_2`, float [N, H, W, 3] in [0, 1], `label`, int [N] (where
    there is a classifier), and optionally `key`, int64 [N], which example this is: it seeds the blur.

    Example:
        >>> task = Pretraining(config)
        >>> task.compile(LARS(0.3))
        >>> task.fit(batches, steps_per_epoch=100)
        >>> h = task.network.resnet(images)["final_avg_pool"]
    """

    loss_names = ("contrast_loss",)
    metric_names = ("contrast_acc", "contrast_entropy")

    def __init__(self, config: ExperimentConfig, **kwargs) -> None:
        if config.model.num_classes:
            self.loss_names = (*self.loss_names, "supervised_loss")
            self.metric_names = (*self.metric_names, "supervised_acc")
        super().__init__(config, **kwargs)

    def objective(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        endpoints = self.network(self.views(batch), training=True, classify_detached=True)
        settings = self.config.objective
        loss, logits, labels = nt_xent(
            endpoints["proj_head_output"], settings.temperature, settings.hidden_norm
        )
        losses = {"contrast_loss": loss}
        metrics = {
            "contrast_acc": contrastive_accuracy(logits, labels),
            "contrast_entropy": contrastive_entropy(logits),
        }
        if "logits_sup" in endpoints:
            classes = tf.concat([batch["label"], batch["label"]], axis=0)
            losses["supervised_loss"] = supervised_loss(endpoints["logits_sup"], classes)
            metrics["supervised_acc"] = tf.reduce_mean(top_k_correct(endpoints["logits_sup"], classes, 1))
        return losses, metrics

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
