"""Throughput of the evaluation step: images in memory to h, class logits and accuracies, in inference mode.

    python benchmarks/evaluation_step.py [--point=r50_224px_b8] [--rounds=2] [--steps=10] [--json=FILE]
    python benchmarks/evaluation_step.py --published=FOLDER [--published_python=PATH]

Ours is a task's `test_step`, as the evaluator runs it, in mixed_bfloat16 and in float32. The published
program is a checkout of google-research/simclr, FOLDER its tf2/; it has the same step, in float32. The points
are those of `train_step.py`, by default the three for CPUs. Each turn is a process of its own, and turns
alternate. Prints a table; --json keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.contenders.published import published_command
from benchmarks.measuring.comparison import markdown, printed_in_turns, steps_of
from benchmarks.measuring.machine import machine
from benchmarks.train_step import POINTS, WARM_UP_STEPS, pretraining_config, timed
from tf_simclrv2 import ModelConfig, Pretraining, TrainingConfig

PRECISIONS = ("mixed_bfloat16", "float32")
DEFAULT_POINTS = ("r18_32px_b64", "r50_224px_b8", "r50_sk_224px_b8")


def evaluation_step(model: ModelConfig, batch_size: int, precision: str) -> Callable[[], float]:
    """The step on random images in memory, as something to call; it returns the seconds that it took."""
    training = TrainingConfig(precision=precision, train_batch_size=batch_size)
    task = Pretraining(pretraining_config(model, training))
    shape = [batch_size, model.image_size, model.image_size, 3]
    batch = {"image": tf.random.uniform(shape), "label": tf.zeros([batch_size], tf.int64)}
    step = tf.function(task.test_step)
    return timed(lambda: step(batch)["label_top_1_accuracy"])


def step_times(point: str, precision: str, steps: int) -> dict[str, list[float]]:
    """Seconds of each step after the warm-up, in this process."""
    step = evaluation_step(*POINTS[point], precision)
    for _ in range(WARM_UP_STEPS):
        step()
    return {"step_s": [step() for _ in range(steps)]}


def contenders(point: str, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each contender at a point."""
    steps = arguments.steps
    words = ["--here", f"--point={point}", f"--steps={steps}"]
    commands = {
        f"ours, {precision}": [sys.executable, __file__, *words, f"--precision={precision}"]
        for precision in PRECISIONS
    }
    if arguments.published:
        commands["published"] = published_command(
            arguments.published_python, arguments.published, "eval", *POINTS[point], steps
        )
    return commands


def main() -> None:
    """Measures the points that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--point", choices=sorted(POINTS), action="append", help="default: three for CPUs")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=10, help="steps of a turn, after the warm-up")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=PRECISIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(step_times(arguments.point[0], arguments.precision, arguments.steps)))
        return
    print(machine())
    results = {}
    for point in arguments.point or DEFAULT_POINTS:
        results[point] = steps_of(printed_in_turns(contenders(point, arguments), arguments.rounds))
        print("\n" + markdown(point, results[point], POINTS[point][1], "images"), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "seconds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
