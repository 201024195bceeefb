"""What a measurement belongs to: the machine and the versions."""

from __future__ import annotations

import os
import pathlib
import platform
from importlib.metadata import version


def processor() -> str:
    """The processor's name, as Linux has it."""
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> str:
    """One line: processor, cores, memory, versions."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = f"TensorFlow {version('tensorflow')}, Keras {version('keras')}"
    python = f"Python {platform.python_version()}, {platform.system()}"
    return f"{os.cpu_count()} cores of {processor()}, {memory:.0f} GiB; {versions}, {python}"
