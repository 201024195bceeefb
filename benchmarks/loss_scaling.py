"""What the contrastive loss costs: with 65,536 keys of the memory, and with a global batch of 4096.

    python benchmarks/loss_scaling.py [--rounds=3] [--json=FILE]

Loss and gradient of NT-Xent on random projections of width 128, float32, each turn in a process of its own,
and turns alternate. Beside the seconds it prints the bytes of one [2N, 2N + K] tensor of logits (N images, K
keys) and by how much the largest resident size of the process grew, gradient included.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.child import numbers_of
from benchmarks.machine import machine
from benchmarks.peak_memory import peak_bytes

# Images, keys.
CASES = ((64, 0), (64, 65536), (4096, 0))
WIDTH = 128
CALLS = 5


def measure(images: int, keys: int) -> dict[str, Any]:
    """Seconds of each call after the first, and the growth of the peak in MB, in this process."""
    import tensorflow as tf

    from tf_simclrv2.objectives.contrastive import nt_xent
    from tf_simclrv2.objectives.memory import nt_xent_with_memory

    z, twins = tf.random.normal([2 * images, WIDTH]), tf.random.normal([2 * images, WIDTH])
    past = tf.math.l2_normalize(tf.random.normal([max(keys, 1), WIDTH]), axis=1)

    @tf.function
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent_with_memory(z, twins, past, keys)[0] if keys else nt_xent(z)[0]
        return tape.gradient(loss, z)

    def timed() -> float:
        start = time.perf_counter()
        gradient().numpy()
        return time.perf_counter() - start

    before = peak_bytes()
    timed()
    seconds = [timed() for _ in range(CALLS)]
    return {"step_s": seconds, "growth_mb": (peak_bytes() - before) / 2**20}


def logits_bytes(images: int, keys: int) -> int:
    """Of one float32 tensor of all queries' logits."""
    return 4 * 2 * images * (2 * images + keys)


def main() -> None:
    """Measures the cases and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
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
    for images, keys in CASES:
        turns = found[f"{images}+{keys}"]
        seconds = [second for turn in turns for second in turn["step_s"]]
        growth = statistics.median(turn["growth_mb"] for turn in turns)
        print(
            f"| {images} | {keys} | {statistics.median(seconds):.4f} "
            f"| {min(seconds):.4f} to {max(seconds):.4f} "
            f"| {logits_bytes(images, keys) / 2**20:.1f} | {growth:.0f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "turns": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
