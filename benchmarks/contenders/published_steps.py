"""Times steps of the published program, for `train_step.py`, `evaluation_step.py` and `startup.py`.

    python benchmarks/contenders/published_steps.py TF2 KIND DEPTH WIDTH SK_RATIO SIZE BATCH STEPS [CALLS]

TF2 is that folder of a checkout of google-research/simclr. Its model.py, objective.py, lars_optimizer.py and
metrics.py make the step, put together as its run.py does: under MirroredStrategy, in float32, with batch norm
over all replicas, and with the blur of 224 px on the device. It was written for Keras 2, so this Python needs
tf_keras of TensorFlow's version. KIND is `train` or `eval`. Prints in JSON the seconds of the first step,
those of each step after the warm-up (each a mean of CALLS steps, 1 by default), and when, as `time.time()`
has it, import, building and first step were done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
from absl import flags

WARM_UP_STEPS = 2
CLASSES = 1000
IMAGES = 1281167  # Of ImageNet, which its schedule asks for.

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

Step = Callable[[], tf.Tensor]


class LateDense(tf.keras.layers.Dense):
    """A Dense whose width may be -1 until it is built, as in the Keras that the program was written for."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(max(units, 1), **kwargs)
        self.units = units


def define_flags(depth: int, width: int, sk_ratio: float, size: int, batch_size: int) -> None:
    """Defines what the published files read, with the values of a point."""
    values = DEFAULTS | {
        "resnet_depth": depth,
        "width_multiplier": width,
        "sk_ratio": sk_ratio,
        "image_size": size,
        "train_batch_size": batch_size,
        "use_blur": size > 32,
    }
    for name, value in values.items():
        DEFINE[type(value)](name, value, "See the published run.py.")
    flags.FLAGS([sys.argv[0]])


def train_step(strategy: tf.distribute.Strategy, size: int, batch_size: int) -> Step:
    """The whole pretraining step on random views in memory."""
    import metrics  # pyright: ignore[reportMissingImports] # These are in the checkout.
    import model as published  # pyright: ignore[reportMissingImports]
    import objective  # pyright: ignore[reportMissingImports]

    values = flags.FLAGS
    with strategy.scope():
        network = published.Model(CLASSES)
        schedule = published.WarmUpAndCosineDecay(values.learning_rate, IMAGES)
        optimizer = published.build_optimizer(schedule)
        names = ("contrast_loss", "contrast_acc", "contrast_entropy", "supervised_loss", "supervised_acc")
        means = {name: tf.keras.metrics.Mean(name) for name in (*names, "weight_decay", "total_loss")}
    contrast_means = [means[name] for name in names[:3]]
    classifier_means = [means[name] for name in names[3:]]
    views = tf.random.uniform([batch_size, size, size, 6])
    labels = tf.one_hot(tf.zeros([batch_size], tf.int32), CLASSES)

    def replica_step(views: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            z, logits = network(views, training=True)
            contrast, contrast_logits, partners = objective.add_contrastive_loss(
                z, hidden_norm=values.hidden_norm, temperature=values.temperature, strategy=strategy
            )
            metrics.update_pretrain_metrics_train(*contrast_means, contrast, contrast_logits, partners)
            both = tf.concat([labels, labels], 0)
            supervised = objective.add_supervised_loss(labels=both, logits=logits)
            metrics.update_finetune_metrics_train(*classifier_means, supervised, both, logits)
            decay = published.add_weight_decay(network, adjust_per_optimizer=True)
            means["weight_decay"].update_state(decay)
            total = contrast + supervised + decay
            means["total_loss"].update_state(total)
            scaled = total / strategy.num_replicas_in_sync
        gradients = tape.gradient(scaled, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    @tf.function
    def step() -> tf.Tensor:
        strategy.run(replica_step, (views, labels))
        return means["total_loss"].result()

    return step


def evaluation_step(strategy: tf.distribute.Strategy, size: int, batch_size: int) -> Step:
    """The step of its evaluation on random images in memory: classifier, accuracies, regularization."""
    import metrics  # pyright: ignore[reportMissingImports]
    import model as published  # pyright: ignore[reportMissingImports]

    with strategy.scope():
        network = published.Model(CLASSES)
        regularization = tf.keras.metrics.Mean("regularization_loss")
        top_1 = tf.keras.metrics.Accuracy("label_top_1_accuracy")
        top_5 = tf.keras.metrics.TopKCategoricalAccuracy(5, "label_top_5_accuracy")
    images = tf.random.uniform([batch_size, size, size, 3])
    labels = tf.one_hot(tf.zeros([batch_size], tf.int32), CLASSES)

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> None:
        _, logits = network(images, training=False)
        metrics.update_finetune_metrics_eval(top_1, top_5, logits, labels)
        regularization.update_state(published.add_weight_decay(network, adjust_per_optimizer=True))

    @tf.function
    def step() -> tf.Tensor:
        strategy.run(replica_step, (images, labels))
        return top_1.result()

    return step


def seconds_of(step: Step, calls: int = 1) -> float:
    """The time of a step: a mean of some calls, until the last one's result is there."""
    start = time.perf_counter()
    for _ in range(calls):
        result = step()
    float(result)
    return (time.perf_counter() - start) / calls


def main() -> None:
    """Measures the point that is asked for."""
    folder, kind, depth, width, sk_ratio, size, batch_size, steps, *calls = sys.argv[1:]
    sys.path.insert(0, folder)
    tf.keras.layers.Dense = LateDense
    tf.get_logger().setLevel("ERROR")
    define_flags(int(depth), int(width), float(sk_ratio), int(size), int(batch_size))
    make = {"train": train_step, "eval": evaluation_step}[kind]
    import model  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport] # Part of the import.

    imported = time.time()
    step = make(tf.distribute.MirroredStrategy(), int(size), int(batch_size))
    built = time.time()
    first = seconds_of(step)
    moments = {"imported": imported, "built": built, "first_step": time.time()}
    if int(steps):
        for _ in range(WARM_UP_STEPS):
            step()
    seconds = [seconds_of(step, int(calls[0]) if calls else 1) for _ in range(int(steps))]
    found = {"first_step_s": first, "step_s": seconds, "moments": moments}
    if tf.config.list_physical_devices("GPU"):
        found["device_peak_mb"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    print(json.dumps(found))


if __name__ == "__main__":
    main()
