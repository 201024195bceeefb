"""Throughput of the whole pretraining step, in images per second.

    python benchmarks/train_step.py [--point=r18_32px_b64] [--precision=float32] [--repeats=10]

Measures ResNet-18 at 32 px with batch 64 and ResNet-50 at 224 px with batch 8: forward, backward, LARS,
the linear classifier and the metrics, on random views that are already in memory. An image counts once,
though it is seen in two views. Prints a table and, with --json, the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import keras
import tensorflow as tf

from tf_simclrv2 import LARS, DataConfig, ExperimentConfig, ModelConfig, Pretraining, TrainingConfig

POINTS = {
    "r18_32px_b64": (ModelConfig(resnet_depth=18, image_size=32), 64),
    "r50_224px_b8": (ModelConfig(resnet_depth=50, image_size=224), 8),
    "r50_sk_224px_b8": (ModelConfig(resnet_depth=50, image_size=224, sk_ratio=0.0625), 8),
}
WARM_UP_STEPS = 2


def pretraining_step(config: ExperimentConfig) -> Callable[[], float]:
    """The whole step on random views in memory, as something to call; it returns the seconds that it took."""
    task = Pretraining(config)
    task.compile(LARS(0.1, weight_decay=1e-4))
    batch_size, size = config.training.train_batch_size, config.model.image_size
    shape = [batch_size, size, size, 3]
    batch = {
        "view_1": tf.random.uniform(shape),
        "view_2": tf.random.uniform(shape),
        "label": tf.zeros([batch_size], tf.int64),
        "key": tf.range(batch_size, dtype=tf.int64),
    }
    step = tf.function(task.train_step)

    def timed() -> float:
        start = time.perf_counter()
        logs = step(batch)
        float(logs["total_loss"])  # Waits until the step is done.
        return time.perf_counter() - start

    return timed


def step_times(point: str, precision: str, repeats: int) -> tuple[float, list[float]]:
    """Seconds of the first step, tracing included, and of each step after the warm-up."""
    model, batch_size = POINTS[point]
    config = ExperimentConfig(
        model=model,
        data=DataConfig(use_blur=model.image_size > 32),
        training=TrainingConfig(precision=precision, train_batch_size=batch_size),
    )
    timed = pretraining_step(config)
    first = timed()
    for _ in range(WARM_UP_STEPS):
        timed()
    return first, [timed() for _ in range(repeats)]


def main() -> None:
    """Measures the points that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--point", choices=sorted(POINTS), action="append", help="default: the two main points"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--repeats", type=int, default=10, help="steps measured after the warm-up")
    parser.add_argument("--json", help="file for the numbers")
    arguments = parser.parse_args()
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
    print(f"{machine}, {arguments.precision}")
    print(
        f"{'point':<18}{'first step s':>14}{'median step s':>15}{'fastest':>9}{'slowest':>9}{'images/s':>10}"
    )
    results = {}
    for point in arguments.point or ["r18_32px_b64", "r50_224px_b8"]:
        keras.backend.clear_session()
        first, seconds = step_times(point, arguments.precision, arguments.repeats)
        median = statistics.median(seconds)
        rate = POINTS[point][1] / median
        print(
            f"{point:<18}{first:>14.2f}{median:>15.3f}{min(seconds):>9.3f}{max(seconds):>9.3f}{rate:>10.2f}"
        )
        results[point] = {"first_step_s": first, "step_s": seconds, "images_per_s": rate}
    if arguments.json:
        pathlib.Path(arguments.json).write_text(
            json.dumps({"machine": machine, "precision": arguments.precision, "points": results}, indent=2)
            + "\n"
        )


if __name__ == "__main__":
    main()
