"""From the start of a process to the end of its first training step: import, building, tracing, one step.

    python benchmarks/startup.py [--point=r50_224px_b8] [--rounds=3] [--precision=float32] [--json=FILE]
    python benchmarks/startup.py --published=FOLDER [--published_python=PATH]
    python benchmarks/startup.py --peer=lightly|torch [--torch_python=PATH]

Each turn is a process of its own. The points are those of `train_step.py`, and ResNet-152 with selective
kernels at 224 px and batch 2. The published program is a checkout of google-research/simclr, FOLDER its tf2/;
it is in float32 and makes its weights in the first step, not before. PyTorch and lightly have no selective
kernels here. Prints a table of the parts and, with --json, every number.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.machine import machine

if TYPE_CHECKING:
    from tf_simclrv2 import ModelConfig  # Its import is measured, so it is not here.

POINTS = ("r18_32px_b64", "r50_224px_b8", "r50_sk_224px_b8", "r152_sk_224px_b2")
PARTS = ("imported", "built", "first_step")


def point_of(point: str) -> tuple[ModelConfig, int]:
    """The network and the batch of a point."""
    from benchmarks import train_step
    from tf_simclrv2 import ModelConfig

    large = {"r152_sk_224px_b2": (ModelConfig(resnet_depth=152, image_size=224, sk_ratio=0.0625), 2)}
    return (train_step.POINTS | large)[point]


def measure(point: str, precision: str) -> dict[str, float]:
    """When, as `time.time()` has it, each part was done in this process."""
    from benchmarks import train_step
    from tf_simclrv2 import TrainingConfig

    imported = time.time()
    model, batch_size = point_of(point)
    training = TrainingConfig(precision=precision, train_batch_size=batch_size)
    step = train_step.pretraining_step(train_step.pretraining_config(model, training))
    built = time.time()
    step()
    return dict(zip(PARTS, (imported, built, time.time()), strict=True))


def contenders(point: str, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each contender at a point, ours first; each prints its `moments`."""
    words = [f"--point={point}", f"--precision={arguments.precision}"]
    commands = {"ours": [sys.executable, __file__, "--here", *words]}
    if arguments.peer == "none" and not arguments.published:
        return commands
    from benchmarks.contenders.published import published_command
    from benchmarks.train_step import torch_command

    model, batch_size = point_of(point)
    if arguments.peer != "none" and not model.sk_ratio:
        options = (model, batch_size, arguments.precision, 0)
        commands[arguments.peer] = torch_command(arguments.torch_python, arguments.peer, *options)
    if arguments.published:
        commands["published"] = published_command(
            arguments.published_python, arguments.published, "train", model, batch_size, steps=0
        )
    return commands


def seconds_to_parts(command: list[str]) -> dict[str, float]:
    """Starts a contender; the seconds from there to the end of each part."""
    started = time.time()
    moments = numbers_of(command)["moments"]
    return {f"{part}_s": moments[part] - started for part in PARTS}


def rows(point: str, turns: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """The lines of a point in the table; the last column is above 1 where ours is there earlier."""
    ours = statistics.median(turn["first_step_s"] for turn in turns["ours"])
    for name, found in turns.items():
        medians = [statistics.median(turn[f"{part}_s"] for turn in found) for part in PARTS]
        last = [turn["first_step_s"] for turn in found]
        words = [point, name, *(f"{median:.2f}" for median in medians)]
        yield f"| {' | '.join(words)} | {min(last):.2f} to {max(last):.2f} | {medians[-1] / ours:.2f} |"


def main() -> None:
    """Measures the points that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--point", choices=POINTS, action="append", help="default: r50_224px_b8, r152_sk_224px_b2"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default="none", choices=["lightly", "torch", "none"])
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has the peer")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps({"moments": measure(arguments.point[0], arguments.precision)}))
        return
    commands = {
        point: contenders(point, arguments)
        for point in arguments.point or ["r50_224px_b8", "r152_sk_224px_b2"]
    }
    results = {point: {name: [] for name in by_name} for point, by_name in commands.items()}
    for _ in range(arguments.rounds):
        for point, by_name in commands.items():
            for name, command in by_name.items():
                results[point][name].append(seconds_to_parts(command))
    print(f"{machine()}, {arguments.precision}\n")
    print("| start to | by | imported, s | built, s | first step done, s | fastest to slowest | this/ours |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for point, turns in results.items():
        print("\n".join(rows(point, turns)))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "seconds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
