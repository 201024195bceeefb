"""What a measurement belongs to: the machine and the versions."""

from __future__ import annotations

import collections
import ctypes
import os
import pathlib
import platform
import re
from importlib.metadata import version

DRIVER = pathlib.Path("/proc/driver/nvidia/version")


def processor() -> str:
    """The processor's name, as Linux has it."""
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gpus() -> str:
    """The GPUs that TensorFlow sees, the driver, CUDA and cuDNN; empty without a GPU."""
    import tensorflow as tf  # Not before the package, which sets it up.

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return ""
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in found]
    cards = [f"{count} x {name}" for name, count in collections.Counter(names).items()]
    versions = {"driver": driver_version(), **library_versions()}
    return ", ".join([*cards, *(f"{name} {number}" for name, number in versions.items() if number)])


def driver_version() -> str:
    """The version of NVIDIA's driver, such as 580.95.05; empty where Linux has none."""
    text = DRIVER.read_text() if DRIVER.exists() else ""
    return next(iter(re.findall(r"\b\d{3,}\.[\d.]+", text)), "")


def library_versions() -> dict[str, str]:
    """The versions of CUDA and cuDNN: those in use, else those that TensorFlow was built for."""
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    cuda, cudnn = (str(built.get(f"{name}_version", "")) for name in ("cuda", "cudnn"))
    found = loaded_cudnn(f"libcudnn.so.{cudnn.split('.')[0]}") if cudnn else ""
    return {"CUDA": cuda and f"{cuda} (built for)", "cuDNN": found or (cudnn and f"{cudnn} (built for)")}


def loaded_cudnn(library: str) -> str:
    """The version of cuDNN under a library's name; empty if there is none."""
    try:
        number = int(ctypes.CDLL(library).cudnnGetVersion())
    except (OSError, AttributeError):
        return ""
    major, rest = divmod(number, 10_000)
    return f"{major}.{rest // 100}.{rest % 100}"


def machine() -> str:
    """One line: GPUs, processor, cores, memory, versions."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = f"TensorFlow {version('tensorflow')}, Keras {version('keras')}"
    python = f"Python {platform.python_version()}, {platform.system()}"
    cores = f"{os.cpu_count()} cores of {processor()}, {memory:.0f} GiB"
    return "; ".join(filter(None, [gpus(), cores, f"{versions}, {python}"]))
