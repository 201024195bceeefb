"""GPUs that the driver has and TensorFlow does not: found out before a run computes on the CPU instead."""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
import shutil
import subprocess

import tensorflow as tf

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICE_NODES = "/dev/nvidia[0-9]*"
# What hides all GPUs, as the driver's manual and TensorFlow's users write it.
_NONE = ("", "-1", "NoDevFiles")
_NO_DEVICE = 100
_SECONDS = 30


def unused_gpus() -> str:
    """Says why TensorFlow does not use the GPUs that the driver has.

    Returns:
        A sentence that names the cause and the cure; empty if TensorFlow has GPUs, there are none, or
        `CUDA_VISIBLE_DEVICES` hides all of them.
    """
    if os.environ.get(VISIBLE, "0").strip() in _NONE or tf.config.list_physical_devices("GPU"):
        return ""
    count = gpus_of_driver()
    if not count:
        return ""
    return (
        f"{count} GPU(s) are visible to the driver, but TensorFlow sees none, because {_reason()}; "
        f"TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's own messages, and {VISIBLE}='' uses the CPU instead."
    )


def gpus_of_driver() -> int:
    """Counts the NVIDIA GPUs that this process may open, without TensorFlow and CUDA.

    A container without GPUs has no device nodes, even though it sees the host's `/proc/driver/nvidia`.
    """
    return len(glob.glob(DEVICE_NODES)) or _gpus_of_nvidia_smi()  # Under WSL there are no nodes.


def _gpus_of_nvidia_smi() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def _reason() -> str:
    """Names the first thing that is wrong, as a part of a sentence."""
    if not tf.test.is_built_with_cuda():
        return "it is built without CUDA (install tensorflow[and-cuda])"
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the driver's library libcuda.so.1 cannot be loaded (reinstall the driver)"
    code = cuda.cuInit(0)
    if code == _NO_DEVICE and VISIBLE in os.environ:
        return f"{VISIBLE} is {os.environ[VISIBLE]!r}, which names none of them"
    if code:
        return f"the driver does not start ({_error_name(cuda, code)}; check whether nvidia-smi works)"
    missing = [name for name in _libraries() if not _can_be_loaded(name)]
    if missing:
        return f"{missing[0]} cannot be loaded (install tensorflow[and-cuda])"
    return "one of CUDA's libraries does not fit"


def _error_name(cuda: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode() if name.value else f"cuInit returns {code}"


def _libraries() -> list[str]:
    """Lists the libraries that are most often missing, in the versions that TensorFlow was built with."""
    built_with = tf.sysconfig.get_build_info()
    cuda, cudnn = (str(built_with.get(f"{name}_version", "")).split(".")[0] for name in ("cuda", "cudnn"))
    return [f"libcudart.so.{cuda}", f"libcublas.so.{cuda}", f"libcudnn.so.{cudnn}"]


def _can_be_loaded(library: str) -> bool:
    # TensorFlow also looks into the packages of NVIDIA that pip installs, all within one namespace.
    spec = importlib.util.find_spec("nvidia")
    folders = (spec.submodule_search_locations if spec else None) or []
    if any(glob.glob(os.path.join(folder, "*", "lib", library)) for folder in folders):
        return True
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
