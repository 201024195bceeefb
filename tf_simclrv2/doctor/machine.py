"""Describes this machine: its devices, cores and memory, and its speed in each precision."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import psutil
import tensorflow as tf

from tf_simclrv2.data.execution import available_cores
from tf_simclrv2.distribution.driver import unused_gpus
from tf_simclrv2.distribution.gpu_memory import card_mb
from tf_simclrv2.host_memory import free_memory, total_memory

MEGABYTE = 2**20
PRECISIONS = ("float32", "bfloat16")
REPEATS = 5
# A 3x3 convolution of a residual block, with its gradients, and a square matrix product.
CONV_BATCH, CONV_SIDE, CONV_CHANNELS = 32, 32, 64
MATRIX_SIDE = 1024


@dataclasses.dataclass(frozen=True)
class Machine:
    """The hardware, and its measured speed.

    Attributes:
        devices: Names of the accelerators; () if there are none.
        cores: The number of CPU cores that this process may use.
        memory_mb: The machine's memory.
        free_mb: The memory that was free then.
        conv_gflops: GFLOP/s by precision, for a 3x3 convolution and its gradients.
        matmul_gflops: GFLOP/s by precision, for a matrix product.
        compute_capability: The first GPU's version; None if it is not known.
        unused_gpus: Why TensorFlow does not use the GPUs that the driver has; empty if it does, or has none.
        card_mb: The first GPU's memory; None if there is no GPU, or it is not known.
    """

    devices: tuple[str, ...]
    cores: int
    memory_mb: float
    free_mb: float
    conv_gflops: dict[str, float]
    matmul_gflops: dict[str, float]
    compute_capability: tuple[int, int] | None = None
    unused_gpus: str = ""
    card_mb: float | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether a GPU computes."""
        return any("GPU" in device for device in self.devices)

    @property
    def bfloat16_gain(self) -> float:
        """The speed of convolutions in bfloat16 relative to float32."""
        return self.conv_gflops["bfloat16"] / self.conv_gflops["float32"]


def look_at_machine() -> Machine:
    """Describes the machine; the measurement takes about a second."""
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    accelerators = [device for kind in ("GPU", "TPU") for device in tf.config.list_logical_devices(kind)]
    return Machine(
        devices=tuple(device.name for device in accelerators),
        cores=available_cores(),
        memory_mb=total_memory() / MEGABYTE,
        free_mb=free_mb(),
        conv_gflops={precision: _conv_gflops(precision) for precision in PRECISIONS},
        matmul_gflops={precision: _matmul_gflops(precision) for precision in PRECISIONS},
        compute_capability=details.get("compute_capability"),
        unused_gpus=unused_gpus(),
        card_mb=card_mb() if gpus else None,
    )


def free_mb() -> float:
    """Returns the memory that is free now, in megabytes."""
    return free_memory() / MEGABYTE


def resident_mb() -> float:
    """Returns the memory that this process holds now, in megabytes."""
    return psutil.Process().memory_info().rss / MEGABYTE


def peak_resident_mb() -> float:
    """Returns the most memory that this process has held, in megabytes.

    `getrusage` would include what the parent process held when it started this one.
    """
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmHWM"].split()[0]) / 1024


def _conv_gflops(precision: str) -> float:
    images = tf.ones([CONV_BATCH, CONV_SIDE, CONV_SIDE, CONV_CHANNELS], precision)
    kernel = tf.ones([3, 3, CONV_CHANNELS, CONV_CHANNELS], precision)

    @tf.function
    def step(images: tf.Tensor, kernel: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            out = tf.nn.conv2d(images, kernel, strides=1, padding="SAME")
        return tape.gradient(out, [images, kernel])

    # The gradients do not need the output, so only the two gradients are computed.
    operations = 2 * 2 * CONV_BATCH * CONV_SIDE**2 * 9 * CONV_CHANNELS**2
    return _gflops(operations, lambda: step(images, kernel)[1])


def _matmul_gflops(precision: str) -> float:
    matrix = tf.ones([MATRIX_SIDE, MATRIX_SIDE], precision)
    return _gflops(2 * MATRIX_SIDE**3, lambda: tf.linalg.matmul(matrix, matrix))


def _gflops(operations: int, compute: Callable[[], tf.Tensor]) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        compute().numpy()  # Waits until it is done.
        return time.perf_counter() - start

    seconds()
    return operations / min(seconds() for _ in range(REPEATS)) / 1e9
