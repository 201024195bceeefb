"""Blurring a batch in several ways: as shifted images, as band matrices, and as a depthwise convolution.

    python benchmarks/blur.py [--images=32] [--size=224] [--dtype=float32] [--sigma_per=example] [--rounds=20]
        [--json=FILE]

The library adds up shifted images on accelerators, where XLA compiles them, and multiplies by band matrices
on a CPU. The depthwise convolution is here only: with a sigma for each image, the images are its channels;
with one for the batch it is the published program's. Each is measured compiled by XLA and not (on a GPU the
library compiles the shifts in either case), on the GPU if there is one. All images are blurred. The program
stops unless the results agree. Prints a table; CPU seconds are those of all threads; --json keeps the
numbers.
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
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from benchmarks.measuring.machine import machine
from tf_simclrv2.data.blur import SIGMA_RANGE, gaussian_blur
from tf_simclrv2.distribution import devices

Blur = Callable[[tf.Tensor, int, tf.Tensor], tf.Tensor]
WARM_UP_ROUNDS = 2
# Largest difference from the first way, of pixels in [0, 1].
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.05}


def depthwise(images: tf.Tensor, kernel_size: int, sigmas: tf.Tensor) -> tf.Tensor:
    """Blurs as `gaussian_blur` does, by two depthwise convolutions.

    Args:
        images: float [N, height, width, channels], of static shape.
        kernel_size: As there.
        sigmas: float [N], or [] for one sigma.

    Returns:
        Images of the same shape and dtype.
    """
    radius = kernel_size // 2
    offsets = tf.range(-radius, radius + 1, dtype=images.dtype)
    weights = tf.exp(-0.5 * tf.square(offsets / tf.reshape(tf.cast(sigmas, images.dtype), [-1, 1])))
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    count, height, width, channels = images.shape
    if sigmas.shape.rank == 0:
        return _depthwise(images, tf.repeat(weights, channels, axis=0))
    side_by_side = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, height, width, count * channels])
    blurred = _depthwise(side_by_side, tf.repeat(weights, channels, axis=0))
    return tf.transpose(tf.reshape(blurred, [height, width, count, channels]), [2, 0, 1, 3])


def _depthwise(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Convolves the channels of images, each with its own row of weights [channels, taps]."""
    kernel = tf.transpose(weights)[:, tf.newaxis, :, tf.newaxis]
    for one_way in (kernel, tf.transpose(kernel, [1, 0, 2, 3])):
        images = tf.nn.depthwise_conv2d(images, one_way, [1, 1, 1, 1], "SAME")
    return images


def of_the_library(on_cpu: bool) -> Blur:
    """The library's blur as it is on a CPU, or elsewhere, wherever this runs."""

    def blur(images: tf.Tensor, kernel_size: int, sigmas: tf.Tensor) -> tf.Tensor:
        with mock.patch.object(devices, "on_cpu", lambda: on_cpu):
            return gaussian_blur(images, kernel_size, sigmas)

    return blur


WAYS: dict[str, Blur] = {
    "band matrices": of_the_library(on_cpu=True),
    "shifts": of_the_library(on_cpu=False),
    "depthwise convolution": depthwise,
}


def seconds_of(run: Callable[[], tf.Tensor], rounds: int) -> dict[str, list[float]]:
    """The seconds of each call, by the clock and of the processor, after the warm-up."""
    found: dict[str, list[float]] = {"s": [], "cpu_s": []}
    for i in range(WARM_UP_ROUNDS + rounds):
        starts = time.perf_counter(), time.process_time()
        tf.reduce_sum(run()).numpy()  # Waits until it is done, but copies nothing from the device.
        if i >= WARM_UP_ROUNDS:
            found["s"].append(time.perf_counter() - starts[0])
            found["cpu_s"].append(time.process_time() - starts[1])
    return found


def measure(images: tf.Tensor, sigmas: tf.Tensor, rounds: int) -> dict[str, Any]:
    """Seconds of each way, compiled and not.

    Raises:
        SystemExit: Two ways do not blur alike.
    """
    kernel_size = images.shape[1] // 10
    results, expected = {}, None
    for name, blur in WAYS.items():
        for compiled in (False, True):

            def once(images: tf.Tensor, blur: Blur = blur) -> tf.Tensor:
                return blur(images, kernel_size, sigmas)

            step = tf.function(once, autograph=False, jit_compile=compiled)
            found = tf.cast(step(images), tf.float32).numpy()
            expected = found if expected is None else expected
            error = float(np.abs(found - expected).max())
            label = f"{name}, compiled" if compiled else name
            if error > TOLERANCES[images.dtype.name]:
                raise SystemExit(f"{label} differs by {error:.2g} from {next(iter(WAYS))}.")
            results[label] = {**seconds_of(lambda step=step: step(images), rounds), "error": error}
    return results


def table(results: dict[str, Any], images: int) -> str:
    """The lines of all ways; the last column is above 1 where the first is faster."""
    first = statistics.median(next(iter(results.values()))["s"])
    lines = []
    for name, found in results.items():
        median, cpu = statistics.median(found["s"]), statistics.median(found["cpu_s"])
        ends = f"{1000 * min(found['s']):.1f} to {1000 * max(found['s']):.1f}"
        numbers = f"{1000 * median:.1f} | {ends} | {1000 * cpu:.1f} | {images / median:.0f}"
        lines.append(f"| {name} | {numbers} | {median / first:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measures a batch and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=224, help="side in pixels; kernels span a tenth")
    parser.add_argument("--dtype", default="float32", choices=TOLERANCES)
    parser.add_argument("--sigma_per", default="example", choices=["example", "batch"])
    parser.add_argument("--rounds", type=int, default=20, help="calls of each, after the warm-up")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    arguments = parser.parse_args()
    count, size = arguments.images, arguments.size
    images = tf.cast(tf.random.uniform([count, size, size, 3], seed=0), arguments.dtype)
    sigmas = tf.random.uniform([count] if arguments.sigma_per == "example" else [], *SIGMA_RANGE)
    results = measure(images, sigmas, arguments.rounds)
    print(f"{machine()}, {arguments.dtype}, {count} images of {size} px\n")
    print("| blur | median, ms | fastest to slowest | CPU ms | images/s | first against this |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(table(results, count))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "ways": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
