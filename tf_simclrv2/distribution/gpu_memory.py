"""How much of the memory of this host's GPUs is in use."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

MEGABYTE = 2**20


@dataclasses.dataclass(frozen=True)
class GpuMemory:
    """What this process holds on the GPU that it uses most.

    Attributes:
        now_mb: Megabytes in use now.
        peak_mb: The most megabytes that were in use at once.
    """

    now_mb: float
    peak_mb: float


def gpu_memory() -> GpuMemory | None:
    """Returns what TensorFlow's tensors take on the GPUs; None without a GPU.

    The allocator holds some more, and CUDA itself a few hundred megabytes.
    """
    found = [
        tf.config.experimental.get_memory_info(device.name.removeprefix("/device:"))
        for device in tf.config.list_logical_devices("GPU")
    ]
    if not found:
        return None
    return GpuMemory(*(max(info[name] for info in found) / MEGABYTE for name in ("current", "peak")))
