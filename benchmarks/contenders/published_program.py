"""The published program as something to call: its flags and its pretraining step.

A checkout's tf2/ has to be on `sys.path`. Its model.py, objective.py, lars_optimizer.py and metrics.py make
the step, put together as its run.py does: under a strategy, in float32, with batch norm over all replicas. It
was written for Keras 2, so this Python needs tf_keras of TensorFlow's version.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
from absl import flags

# Those that its files read, as its run.py has them, but for weight decay (the paper's).
DEFAULTS = {
    "learning_rate": 0.3,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-4,
    "batch_norm_decay": 0.9,
    "train_batch_size": 512,
    "train_epochs": 100,
    "train_steps": 0,
    "train_mode": "pretrain",
    "lineareval_while_pretraining": True,
    "fine_tune_after_block": -1,
    "optimizer": "lars",
    "momentum": 0.9,
    "temperature": 0.1,
    "hidden_norm": True,
    "proj_head_mode": "nonlinear",
    "proj_out_dim": 128,
    "num_proj_layers": 3,
    "ft_proj_selector": 0,
    "global_bn": True,
    "width_multiplier": 1,
    "resnet_depth": 50,
    "sk_ratio": 0.0,
    "se_ratio": 0.0,
    "image_size": 224,
    "color_jitter_strength": 1.0,
    "use_blur": True,
}
DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


class LateDense(tf.keras.layers.Dense):
    """A Dense whose width may be -1 until it is built, as in the Keras that the program was written for."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(max(units, 1), **kwargs)
        self.units = units


def define_flags(**values: object) -> None:
    """Defines what the published files read, with some values of its own, and readies Keras for them."""
    for name, value in {**DEFAULTS, **values}.items():
        DEFINE[type(value)](name, value, "See the published run.py.")
    flags.FLAGS([sys.argv[0]])
    tf.keras.layers.Dense = LateDense
    tf.get_logger().setLevel("ERROR")


def pretraining(
    strategy: tf.distribute.Strategy, classes: int, images: int
) -> tuple[Any, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """The network, and the whole pretraining step: of views [N, H, W, 6] and one-hot labels, to the loss.

    Args:
        strategy: What it runs under.
        classes: Of the online classifier.
        images: Of an epoch, which the schedule asks for.
    """
    import metrics  # pyright: ignore[reportMissingImports] # These are in the checkout.
    import model as published  # pyright: ignore[reportMissingImports]
    import objective  # pyright: ignore[reportMissingImports]

    values = flags.FLAGS
    with strategy.scope():
        network = published.Model(classes)
        schedule = published.WarmUpAndCosineDecay(values.learning_rate, images)
        optimizer = published.build_optimizer(schedule)
        names = ("contrast_loss", "contrast_acc", "contrast_entropy", "supervised_loss", "supervised_acc")
        means = {name: tf.keras.metrics.Mean(name) for name in (*names, "weight_decay", "total_loss")}
    contrast_means = [means[name] for name in names[:3]]
    classifier_means = [means[name] for name in names[3:]]

    def replica_step(views: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            z, logits = network(views, training=True)
            total, contrast_logits, partners = objective.add_contrastive_loss(
                z, hidden_norm=values.hidden_norm, temperature=values.temperature, strategy=strategy
            )
            metrics.update_pretrain_metrics_train(*contrast_means, total, contrast_logits, partners)
            if logits is not None:
                both = tf.concat([labels, labels], 0)
                supervised = objective.add_supervised_loss(labels=both, logits=logits)
                metrics.update_finetune_metrics_train(*classifier_means, supervised, both, logits)
                total += supervised
            decay = published.add_weight_decay(network, adjust_per_optimizer=True)
            means["weight_decay"].update_state(decay)
            total += decay
            means["total_loss"].update_state(total)
            scaled = total / strategy.num_replicas_in_sync
        gradients = tape.gradient(scaled, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    @tf.function
    def step(views: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        strategy.run(replica_step, (views, labels))
        return means["total_loss"].result()

    return network, step
