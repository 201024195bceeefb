"""The share of LARS, and of the momentum encoder's moving average, in a whole pretraining step.

    python benchmarks/optimizer_share.py [--point=r50_224px_b8 ...] [--precision=float32] [--rounds=5]
        [--json=FILE]

In one process take turns: the step without a memory, the step with 65,536 keys and a momentum encoder, LARS
alone on given gradients of that network, and the moving average alone. Networks, batches and steps are those
of `train_step.py`. Prints the medians and the shares in either step. The step without a memory has no moving
average: what is held against it is stricter than any run.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.machine import machine
from benchmarks.train_step import (
    POINTS,
    WARM_UP_STEPS,
    pretraining_config,
    pretraining_task,
    timed,
    timed_step,
)
from tf_simclrv2 import ModelConfig, ObjectiveConfig, Pretraining, TrainingConfig

KEYS = 65536
STEP, STEP_WITH_MEMORY, LARS_ALONE, AVERAGE_ALONE = "step", "step with memory", "LARS", "moving average"


def contenders(model: ModelConfig, training: TrainingConfig, keys: int) -> dict[str, Callable[[], float]]:
    """What takes turns; each call returns its seconds."""
    plain = pretraining_task(pretraining_config(model, training))
    remembering = pretraining_task(pretraining_config(model, training, ObjectiveConfig(memory_size=keys)))
    return {
        STEP: timed_step(plain),
        STEP_WITH_MEMORY: timed_step(remembering),
        LARS_ALONE: timed_graph(update_of(remembering), remembering.global_step),
        AVERAGE_ALONE: timed_graph(average_of(remembering), remembering.global_step),
    }


def update_of(task: Pretraining) -> Callable[[], None]:
    """LARS on gradients that are there already."""
    variables = task.network.trainable_variables
    gradients = [tf.random.normal(variable.shape, stddev=1e-3) for variable in variables]
    return lambda: task.optimizer.apply(gradients, variables)


def average_of(task: Pretraining) -> Callable[[], None]:
    """A step of the momentum encoder towards the network."""
    encoder = task.momentum_encoder
    assert encoder is not None
    return lambda: encoder.follow(task.global_step)


def timed_graph(work: Callable[[], None], after: tf.Variable) -> Callable[[], float]:
    """The seconds of a call, in a graph."""

    @tf.function
    def graph() -> tf.Tensor:
        work()
        return tf.identity(after)

    return timed(graph)


def measure(
    model: ModelConfig, training: TrainingConfig, rounds: int, keys: int = KEYS
) -> dict[str, list[float]]:
    """Seconds of each contender's turns after the warm-up, in this process."""
    turns = contenders(model, training, keys)
    for _ in range(1 + WARM_UP_STEPS):
        for turn in turns.values():
            turn()
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            seconds[name].append(turn())
    return seconds


def shares(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each part, and of both: its seconds, and its share in the step and in the step with a memory."""
    median = {name: statistics.median(found) for name, found in seconds.items()}
    parts = {name: median[name] for name in (LARS_ALONE, AVERAGE_ALONE)}
    parts["both"] = sum(parts.values())
    return {
        name: {"s": part, STEP: part / median[STEP], STEP_WITH_MEMORY: part / median[STEP_WITH_MEMORY]}
        for name, part in parts.items()
    }


def table(point: str, seconds: dict[str, list[float]]) -> str:
    """Shares of the parts and, in the heads, the seconds that they are held against."""
    heads = [f"{name}, {statistics.median(seconds[name]):.3f} s" for name in (STEP, STEP_WITH_MEMORY)]
    lines = [
        f"| {point} | s | share of the {heads[0]} | share of the {heads[1]} |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {row['s']:.4f} | {row[STEP]:.1%} | {row[STEP_WITH_MEMORY]:.1%} |"
        for name, row in shares(seconds).items()
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures the points that are asked for, each in a process of its own, and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--point", choices=sorted(POINTS), action="append", help="default: the two main points"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        model, batch_size = POINTS[arguments.point[0]]
        training = TrainingConfig(precision=arguments.precision, train_batch_size=batch_size)
        print(json.dumps(measure(model, training, arguments.rounds)))
        return
    print(f"{machine()}, {arguments.precision}\n")
    results: dict[str, Any] = {}
    for point in arguments.point or ["r18_32px_b64", "r50_224px_b8"]:
        words = [f"--precision={arguments.precision}", f"--rounds={arguments.rounds}"]
        seconds = numbers_of([sys.executable, __file__, "--here", f"--point={point}", *words])
        results[point] = {"seconds": seconds, "shares": shares(seconds)}
        print(table(point, seconds), flush=True)
    if arguments.json:
        numbers = {"machine": machine(), "precision": arguments.precision, "points": results}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
