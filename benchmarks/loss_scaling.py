"""What the contrastive loss costs: with 65,536 keys of the memory, and with a global batch of 4096.

    python benchmarks/loss_scaling.py [--rounds=3] [--precision=mixed_bfloat16] [--json=FILE]

Loss and gradient of NT-Xent on random projections of width 128, float32, each turn in a process of its own,
and turns alternate. Beside the seconds it prints the bytes of one [2N, 2N + K] tensor of logits (N images, K
keys) and by how much the largest resident size of the process grew, gradient included. Last comes what the
keys add to a ResNet-50 step of 64 images at 224 px. Such a step is taken as eight of `train_step.py` with 8
images each, since it would hold too much for a small machine; by default in bfloat16, in which the share is
larger, for the step is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.machine import machine
from benchmarks.measuring.peak_memory import peak_bytes
from benchmarks.train_step import POINTS, MeasuredStep

# Images, keys.
CASES = ((64, 0), (64, 65536), (4096, 0))
WIDTH = 128
CALLS = 5
STEP_POINT, STEPS = "r50_224px_b8", 3
STEP_IMAGES = 8


def measure(images: int, keys: int) -> dict[str, Any]:
    """Seconds of each call after the first, and the growth of the peak in MB, in this process."""
    import tensorflow as tf

    from tf_simclrv2.objectives.contrastive import nt_xent
    from tf_simclrv2.objectives.memory_bank import nt_xent_with_memory_bank

    z, twins = tf.random.normal([2 * images, WIDTH]), tf.random.normal([2 * images, WIDTH])
    past = tf.math.l2_normalize(tf.random.normal([max(keys, 1), WIDTH]), axis=1)

    @tf.function
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent_with_memory_bank(z, twins, past, keys)[0] if keys else nt_xent(z)[0]
        return tape.gradient(loss, z)

    def timed() -> float:
        start = time.perf_counter()
        gradient().numpy()
        return time.perf_counter() - start

    before = peak_bytes()
    timed()
    seconds = [timed() for _ in range(CALLS)]
    # The kernel counts in batches of pages, so that a peak may seem to fall by a few.
    return {"step_s": seconds, "growth_mb": max(peak_bytes() - before, 0) / 2**20}


def logits_bytes(images: int, keys: int) -> int:
    """Of one float32 tensor of all queries' logits."""
    return 4 * 2 * images * (2 * images + keys)


def step_seconds(precision: str) -> list[float]:
    """Of whole steps of the point."""
    return numbers_of(step_of(precision).command(STEPS))["step_s"]


def step_of(precision: str) -> MeasuredStep:
    """The step of the point."""
    return MeasuredStep(*POINTS[STEP_POINT], precision)


def added_share(with_keys: Sequence[float], without: Sequence[float], images: int, step: float) -> float:
    """What keys add to the loss of some images, over a step of as many.

    Args:
        with_keys: Seconds of the loss.
        without: The same without keys.
        images: Of both.
        step: Seconds of a step of `STEP_IMAGES` images.
    """
    added = statistics.median(with_keys) - statistics.median(without)
    return added / (step * images / STEP_IMAGES)


def main() -> None:
    """Measures the cases and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="mixed_bfloat16", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(*arguments.here)))
        return
    found: dict[str, list[dict[str, Any]]] = {f"{images}+{keys}": [] for images, keys in CASES}
    for _ in range(arguments.rounds):
        for images, keys in CASES:
            turn = numbers_of([sys.executable, __file__, "--here", str(images), str(keys)])
            found[f"{images}+{keys}"].append(turn)
    print(f"{machine()}\n")
    print("| images | keys | median, s | fastest to slowest | logits, MB | peak grows by, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    seconds_of = {
        name: [second for turn in turns for second in turn["step_s"]] for name, turns in found.items()
    }
    for images, keys in CASES:
        turns, seconds = found[f"{images}+{keys}"], seconds_of[f"{images}+{keys}"]
        growth = statistics.median(turn["growth_mb"] for turn in turns)
        print(
            f"| {images} | {keys} | {statistics.median(seconds):.4f} "
            f"| {min(seconds):.4f} to {max(seconds):.4f} "
            f"| {logits_bytes(images, keys) / 2**20:.1f} | {growth:.0f} |"
        )
    steps = step_seconds(arguments.precision)
    step = statistics.median(steps)
    (images, _), (_, keys), _ = CASES
    share = added_share(seconds_of[f"{images}+{keys}"], seconds_of[f"{images}+0"], images, step)
    print(
        f"\n{keys} keys add {share:.2%} to a step of {images} images: ResNet-50, 224 px, "
        f"{arguments.precision}, {images // STEP_IMAGES} times {step:.3f} s for {STEP_IMAGES} images."
    )
    if arguments.json:
        numbers = {"machine": machine(), "turns": found, "step_s": steps, "added_share": share}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
