"""What several replicas cost on the cores of one, or gain on several GPUs: the same global batch on 1 and 2.

    python benchmarks/replicas.py [--device=auto|cpu|gpu] [--replicas=1,2] [--rounds=3] [--steps=5]
        [--json=FILE]

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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.comparison import printed_in_turns, steps_of
from benchmarks.train_step import DEVICES, GPU_CALLS, MeasuredStep, choose_device
from tf_simclrv2 import ModelConfig

R18 = ModelConfig(resnet_depth=18, image_size=32)
BATCH = 64


def commands(counts: list[int], on_gpu: bool, steps: int) -> dict[str, list[str]]:
    """What measures each count; on GPUs a mean of several steps each time."""
    calls = GPU_CALLS if on_gpu else 1
    return {
        str(count): MeasuredStep(R18, BATCH, replicas=count, calls=calls).command(steps) for count in counts
    }


def table(seconds: dict[str, list[float]]) -> str:
    """The lines of all counts; the last column holds them to the first."""
    first = statistics.median(next(iter(seconds.values())))
    lines = [f"{'replicas':<10}{'median step s':>15}{'fastest':>9}{'slowest':>9}{'this/first':>12}"]
    for count, found in seconds.items():
        median = statistics.median(found)
        ends = f"{min(found):>9.3f}{max(found):>9.3f}"
        lines.append(f"{count:<10}{median:>15.3f}{ends}{median / first:>12.3f}")
    return "\n".join(lines)


def main() -> None:
    """Measures the counts that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto: GPUs if there are any")
    parser.add_argument("--replicas", default="1,2", help="counts, the first of which the others are held to")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="steps of a round, after the warm-up")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.replicas.split(",")]
    on_gpu = choose_device(arguments.device, max(counts))
    seconds = steps_of(printed_in_turns(commands(counts, on_gpu, arguments.steps), arguments.rounds))
    print(table(seconds))
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=2) + "\n")


if __name__ == "__main__":
    main()
