"""From the start of a process to the end of its first training step: import, building, tracing, one step.

    python benchmarks/startup.py [--point=r50_224px_b8] [--rounds=3] [--precision=float32] [--json=FILE]

Each turn is a process of its own. The points are those of `train_step.py`, and ResNet-152 with selective
kernels at 224 px and batch 2. Prints a table of the parts and, with --json, every number.
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

from benchmarks.child import numbers_of
from benchmarks.machine import machine

POINTS = ("r18_32px_b64", "r50_224px_b8", "r50_sk_224px_b8", "r152_sk_224px_b2")
PARTS = ("imported_s", "built_s", "first_step_s")


def measure(point: str, precision: str, started: float) -> dict[str, float]:
    """Seconds since `started` (as `time.time()` has it) at the end of each part, in this process."""
    from benchmarks import train_step
    from tf_simclrv2 import ModelConfig, TrainingConfig

    imported = time.time()
    large = {"r152_sk_224px_b2": (ModelConfig(resnet_depth=152, image_size=224, sk_ratio=0.0625), 2)}
    model, batch_size = (train_step.POINTS | large)[point]
    training = TrainingConfig(precision=precision, train_batch_size=batch_size)
    step = train_step.pretraining_step(train_step.pretraining_config(model, training))
    built = time.time()
    step()
    return dict(zip(PARTS, (moment - started for moment in (imported, built, time.time())), strict=True))


def main() -> None:
    """Measures the points that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--point", choices=POINTS, action="append", help="default: r50_224px_b8, r152_sk_224px_b2"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.point[0], arguments.precision, arguments.here)))
        return
    points = arguments.point or ["r50_224px_b8", "r152_sk_224px_b2"]
    results: dict[str, list[dict[str, float]]] = {point: [] for point in points}
    for _ in range(arguments.rounds):
        for point in points:
            command = [sys.executable, __file__, f"--point={point}", f"--precision={arguments.precision}"]
            results[point].append(numbers_of([*command, f"--here={time.time()}"]))
    print(f"{machine()}, {arguments.precision}\n")
    print("| start to | imported, s | built, s | first step done, s | fastest to slowest |")
    print("| --- | --- | --- | --- | --- |")
    for point, turns in results.items():
        medians = [f"{statistics.median(turn[part] for turn in turns):.2f}" for part in PARTS]
        last = [turn["first_step_s"] for turn in turns]
        print(f"| {' | '.join([point, *medians])} | {min(last):.2f} to {max(last):.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "seconds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
