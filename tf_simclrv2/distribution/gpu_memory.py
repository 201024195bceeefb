"""How much memory this host's GPUs have, and how much of it is in use."""

from __future__ import annotations

import ctypes
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


def card_mb() -> float | None:
    """Returns the memory of the first GPU, in megabytes; None where the driver names none.

    TensorFlow does not tell: with `allow_growth` its limit is what was free when it started.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, size = ctypes.c_int(), ctypes.c_size_t()
    failed = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return None if failed else size.value / MEGABYTE
