"""What several replicas cost on the cores of one: the same global batch on 1 and on 2 virtual devices.

    python benchmarks/replicas.py [--replicas=1,2] [--rounds=3] [--steps=5] [--json=FILE]

Each count runs in a process of its own, and they take turns, so that drift of the machine meets all alike.
The step is the whole pretraining step of ResNet-18 at 32 px, global batch 64, synchronised batch norm.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.measuring.child import numbers_of
from benchmarks.train_step import pretraining_config, random_views
from tf_simclrv2 import LARS, ModelConfig, Pretraining, TrainingConfig
from tf_simclrv2.config import RunConfig
from tf_simclrv2.distribution.devices import split_cpu
from tf_simclrv2.distribution.strategy import make_strategy

R18 = ModelConfig(resnet_depth=18, image_size=32)
BATCH = 64
WARM_UP_STEPS = 2


def step_times(replicas: int, steps: int) -> list[float]:
    """Seconds of each step after the warm-up, in this process."""
    split_cpu(replicas)
    strategy = make_strategy(RunConfig(strategy="mirrored" if replicas > 1 else "one_device"))
    config = pretraining_config(R18, TrainingConfig(train_batch_size=BATCH))
    with strategy.scope():
        task = Pretraining(config)
        task.compile(LARS(0.1, weight_decay=1e-4))
    batches = tf.data.Dataset.from_tensors(random_views(config)).repeat()
    iterator = iter(strategy.experimental_distribute_dataset(batches))

    @tf.function
    def step() -> tf.Tensor:
        strategy.run(task.train_step, args=(next(iterator),))
        return task.train_means["total_loss"].result()

    def timed() -> float:
        start = time.perf_counter()
        float(step())
        return time.perf_counter() - start

    for _ in range(WARM_UP_STEPS):
        timed()
    return [timed() for _ in range(steps)]


def main() -> None:
    """Measures the counts that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", default="1,2", help="counts, the first of which the others are held to")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="steps of a round, after the warm-up")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(step_times(arguments.here, arguments.steps)))
        return
    counts = [int(count) for count in arguments.replicas.split(",")]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(arguments.rounds):
        for count in counts:
            command = [sys.executable, __file__, f"--here={count}", f"--steps={arguments.steps}"]
            seconds[count] += numbers_of(command)
    first = statistics.median(seconds[counts[0]])
    print(
        f"{'replicas':<10}{'median step s':>15}{'fastest':>9}{'slowest':>9}{'against ' + str(counts[0]):>12}"
    )
    for count, found in seconds.items():
        median = statistics.median(found)
        print(f"{count:<10}{median:>15.3f}{min(found):>9.3f}{max(found):>9.3f}{median / first:>12.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=2) + "\n")


if __name__ == "__main__":
    main()
