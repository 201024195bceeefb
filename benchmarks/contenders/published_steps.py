"""Times steps of the published program, for `train_step.py`, `evaluation_step.py` and `startup.py`.

    python benchmarks/contenders/published_steps.py TF2 KIND DEPTH WIDTH SK_RATIO SIZE BATCH STEPS [CALLS]

TF2 is that folder of a checkout of google-research/simclr; `published_program.py` makes its step, which
runs here under MirroredStrategy, on one GPU if there are any, and with the blur of 224 px on the device.
KIND is `train` or `eval`. Prints in JSON the seconds of the first step, those of each step after the
warm-up (each a mean of CALLS steps, 1 by default), and when, as `time.time()` has it, import, building and
first step were done.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.contenders.published_program import define_flags, pretraining  # Before TensorFlow.

# isort: split
import tensorflow as tf

WARM_UP_STEPS = 2
CLASSES = 1000
IMAGES = 1281167  # Of ImageNet, which its schedule asks for.

Step = Callable[[], tf.Tensor]


def train_step(strategy: tf.distribute.Strategy, size: int, batch_size: int) -> Step:
    """The whole pretraining step on random views in memory."""
    _, step = pretraining(strategy, CLASSES, IMAGES)
    views = tf.random.uniform([batch_size, size, size, 6])
    labels = tf.one_hot(tf.zeros([batch_size], tf.int32), CLASSES)
    return lambda: step(views, labels)


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
    define_flags(
        resnet_depth=int(depth),
        width_multiplier=int(width),
        sk_ratio=float(sk_ratio),
        image_size=int(size),
        train_batch_size=int(batch_size),
        use_blur=int(size) > 32,
    )
    make = {"train": train_step, "eval": evaluation_step}[kind]
    import model  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport] # Part of the import.

    imported = time.time()
    gpus = tf.config.list_logical_devices("GPU")
    strategy = tf.distribute.MirroredStrategy([gpus[0].name] if gpus else None)
    step = make(strategy, int(size), int(batch_size))
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
