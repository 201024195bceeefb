"""Throughput of the whole pretraining step, in images per second.

    python benchmarks/train_step.py [--point=r18_32px_b64] [--precision=float32] [--rounds=2] [--steps=5]
    python benchmarks/train_step.py --peer=lightly|torch|compile [--torch_python=PATH]
    python benchmarks/train_step.py --published=FOLDER [--published_python=PATH]
    python benchmarks/train_step.py --gpu --precision=mixed_bfloat16 --peer=torch --peer=compile

Measures ResNet-18 at 32 px with batch 64 and ResNet-50 at 224 px with batch 8, or with `--gpu` the same with
batch 512 and 128, each time a mean of four steps: forward, backward, LARS, the linear classifier and the
metrics, on random views that are already in memory. An image counts once, though it is seen in two views. The
step of PyTorch (`compile` is under torch.compile) or lightly beside it has plain SGD and neither metrics nor
blur, so ours does more. The published program is a checkout of google-research/simclr, FOLDER its tf2/; its
step does what ours does and is always in float32. Each turn is a process of its own, and turns alternate.
Prints a table; --json keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks.contenders.published import published_command
from benchmarks.measuring.comparison import printed_in_turns, steps_of
from benchmarks.measuring.machine import machine
from tf_simclrv2 import (
    LARS,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    Pretraining,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.distribution.compilation import compiled
from tf_simclrv2.distribution.strategy import make_strategy
from tf_simclrv2.setting import settings_of

POINTS = {
    "r18_32px_b64": (ModelConfig(resnet_depth=18, image_size=32), 64),
    "r50_224px_b8": (ModelConfig(resnet_depth=50, image_size=224), 8),
    "r50_sk_224px_b8": (ModelConfig(resnet_depth=50, image_size=224, sk_ratio=0.0625), 8),
    "r18_32px_b512": (ModelConfig(resnet_depth=18, image_size=32), 512),
    "r50_224px_b128": (ModelConfig(resnet_depth=50, image_size=224), 128),
}
CPU_POINTS = ["r18_32px_b64", "r50_224px_b8"]
GPU_POINTS = ["r50_224px_b128", "r18_32px_b512"]
# Steps of a time on a GPU, which would else wait for the host between them.
GPU_CALLS = 4
WARM_UP_STEPS = 2


def pretraining_config(
    model: ModelConfig, training: TrainingConfig, objective: ObjectiveConfig | None = None
) -> ExperimentConfig:
    """A run as the benchmarks measure it: with blur where the paper has it."""
    data, objective = DataConfig(use_blur=model.image_size > 32), objective or ObjectiveConfig()
    return ExperimentConfig(model=model, data=data, training=training, objective=objective)


def random_views(config: ExperimentConfig) -> dict[str, tf.Tensor]:
    """A global batch in memory."""
    batch_size, size = config.training.train_batch_size, config.model.image_size
    shape = [batch_size, size, size, 3]
    return {
        "view_1": tf.random.uniform(shape),
        "view_2": tf.random.uniform(shape),
        "label": tf.zeros([batch_size], tf.int64),
        "key": tf.range(batch_size, dtype=tf.int64),
    }


def pretraining_task(config: ExperimentConfig) -> Pretraining:
    """What is trained, with its optimizer."""
    task = Pretraining(config)
    task.compile(LARS(0.1, weight_decay=1e-4))
    return task


def pretraining_step(config: ExperimentConfig) -> Callable[[], float]:
    """The whole step on random views in memory, as something to call; it returns the seconds that it took."""
    return timed_step(pretraining_task(config))


def timed_step(task: Pretraining) -> Callable[[], float]:
    """As `pretraining_step`, of a task that is there already."""
    return timed(loss_of_step(task))


def loss_of_step(task: Pretraining) -> Callable[[], tf.Tensor]:
    """The step of a task as something to call, compiled as its config says."""
    batch = random_views(task.config)
    step = tf.function(compiled(task.train_step, task.compile_mode), autograph=False)
    return lambda: step(batch)["total_loss"]


def timed(run: Callable[[], tf.Tensor], calls: int = 1) -> Callable[[], float]:
    """The seconds of a call, the mean of some, until the last one's number is there."""

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        result.numpy()  # Waits until all is done.
        return (time.perf_counter() - start) / calls

    return seconds


def step_times(point: str, precision: str, compile_mode: str, steps: int, calls: int) -> dict[str, Any]:
    """Seconds of the first step, tracing included, and of each step after the warm-up, in this process."""
    model, batch_size = POINTS[point]
    training = TrainingConfig(precision=precision, train_batch_size=batch_size, compile=compile_mode)
    with make_strategy(RunConfig()).scope():
        run = loss_of_step(pretraining_task(pretraining_config(model, training)))
    step = timed(run, calls)
    found: dict[str, Any] = {"first_step_s": timed(run)()}
    for _ in range(WARM_UP_STEPS):
        step()
    found["step_s"] = [step() for _ in range(steps)]
    if tf.config.list_physical_devices("GPU"):
        found["device_peak_mb"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return found


def torch_command(
    python: str, peer: str, model: ModelConfig, batch_size: int, precision: str, steps: int, calls: int = 1
) -> list[str]:
    """What measures steps of PyTorch or lightly."""
    values = (peer, model.resnet_depth, model.image_size, batch_size, precision, steps, calls)
    return [
        python,
        str(pathlib.Path(__file__).parent / "contenders" / "torch_train_step.py"),
        *map(str, values),
    ]


def contenders(point: str, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each contender at a point, ours first."""
    model, batch_size = POINTS[point]
    precision, steps, calls = arguments.precision, arguments.steps, GPU_CALLS if arguments.gpu else 1
    words = [f"--point={point}", f"--precision={precision}", f"--steps={steps}"]
    words += [f"--compile={arguments.compile}", *(["--gpu"] if arguments.gpu else [])]
    commands = {"ours": [sys.executable, __file__, "--here", *words]}
    for peer in [] if model.sk_ratio else sorted(set(arguments.peer) - {"none"}, reverse=True):
        commands[peer] = torch_command(
            arguments.torch_python, peer, model, batch_size, precision, steps, calls
        )
    if arguments.published:
        commands["published"] = published_command(
            arguments.published_python, arguments.published, "train", model, batch_size, steps, calls
        )
    return commands


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, Any]:
    """Seconds of each contender's steps, turn by turn, those of first ones, and peaks on a GPU."""
    turns = printed_in_turns(commands, rounds)
    return {
        "first_step_s": {name: [turn["first_step_s"] for turn in found] for name, found in turns.items()},
        "device_peak_mb": {name: found[0].get("device_peak_mb") for name, found in turns.items()},
        **steps_of(turns),
    }


def main() -> None:
    """Measures the points that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--point", choices=sorted(POINTS), action="append", help="default: the two main points"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--rounds", type=int, default=2, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn, after the warm-up")
    peers = ["lightly", "torch", "compile", "none"]
    parser.add_argument("--peer", default=[], choices=peers, action="append", help="may be repeated")
    parser.add_argument("--gpu", action="store_true", help="measure the points for a GPU")
    modes = settings_of(TrainingConfig)["compile"].choices
    parser.add_argument("--compile", default="auto", choices=modes, help="of ours")
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has the peer")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        calls = GPU_CALLS if arguments.gpu else 1
        options = (arguments.point[0], arguments.precision, arguments.compile, arguments.steps, calls)
        print(json.dumps(step_times(*options)))
        return
    print(f"{machine()}, {arguments.precision}")
    columns = f"{'median step s':>15}{'fastest':>9}{'slowest':>9}{'images/s':>10}{'ours/this':>11}"
    print(f"{'point':<18}{'':<10}{columns}{'first step s':>14}{'peak GiB':>10}")
    results = {}
    for point in arguments.point or (GPU_POINTS if arguments.gpu else CPU_POINTS):
        commands = contenders(point, arguments)
        results[point] = found = measure(commands, arguments.rounds)
        for name in commands:
            print_row(point, name, found)
    if arguments.json:
        numbers = {"machine": machine(), "precision": arguments.precision, "points": results}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def print_row(point: str, name: str, found: dict[str, Any]) -> None:
    """A line of the table; the last column is the ratio of images/s, above 1 where ours is faster."""
    median, ours = statistics.median(found[name]), statistics.median(found["ours"])
    first, peak = statistics.median(found["first_step_s"][name]), found["device_peak_mb"][name]
    print(
        f"{point:<18}{name:<10}{median:>15.4f}{min(found[name]):>9.4f}{max(found[name]):>9.4f}"
        f"{POINTS[point][1] / median:>10.2f}{median / ours:>11.2f}{first:>14.1f}"
        + (f"{peak / 2**10:>10.2f}" if peak else f"{'':>10}"),
        flush=True,
    )


if __name__ == "__main__":
    main()
