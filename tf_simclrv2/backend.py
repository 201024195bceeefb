"""Keras 3 on TensorFlow: settings that must be made before TensorFlow starts."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import mmap
import os
import sys

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# The end of the C++ name of `absl::SetMinLogLevel`; the start of it names absl's version.
_SET_MIN_LOG_LEVEL = b"14SetMinLogLevelENS0_18LogSeverityAtLeastE\0"


def prefer_onednn() -> None:
    """Makes TensorFlow use oneDNN on every x86 processor.

    By default it does so only if the processor has AVX-512. With AVX2 alone, a convolution and its gradients
    take five to seven times as long without oneDNN. A value of `TF_ENABLE_ONEDNN_OPTS` in the environment is
    respected. The call has no effect if TensorFlow is imported already.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def share_gpu_memory() -> None:
    """Makes TensorFlow take a GPU's memory as needed, so that other programs can use the rest.

    By default it takes all of it at once, and a report or an export would end the training run next to it. A
    value of `TF_FORCE_GPU_ALLOW_GROWTH` in the environment is respected. The call has no effect once
    TensorFlow has computed anything on a GPU.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's native log messages off the terminal, except fatal ones.

    A program calls this before TensorFlow is imported; the library never does. `TF_CPP_MIN_LOG_LEVEL` in the
    environment is respected. TensorFlow applies that variable only to a part of its messages: those that go
    through absl ("Compiled cluster using XLA!", and many about GPUs) ignore it, and absl has no variable of
    its own. So absl's level is set here to the same value. Exceptions are not affected.
    """
    level = os.environ.setdefault(_LOG_LEVEL, "3")
    if level.isdigit() and "tensorflow" not in sys.modules:
        _set_absl_log_level(int(level))


def _set_absl_log_level(level: int) -> None:
    """Calls `absl::SetMinLogLevel` in TensorFlow's library; does nothing if the library lacks it."""
    spec = importlib.util.find_spec("tensorflow")
    folders = spec.submodule_search_locations if spec else None
    path = os.path.join(folders[0], "libtensorflow_framework.so.2") if folders else ""
    if not os.path.exists(path):  # Other systems have other names for it.
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
        end = library.find(_SET_MIN_LOG_LEVEL)
        start = library.rfind(b"\0", 0, end) + 1
        name = library[start : end + len(_SET_MIN_LOG_LEVEL) - 1].decode() if end >= 0 else ""
    if name.startswith("_ZN4absl"):
        ctypes.CDLL(path)[name](ctypes.c_int(level))


def require_tensorflow() -> None:
    """Checks that Keras 3 will run on TensorFlow, without importing Keras.

    Raises:
        ImportError: `KERAS_BACKEND` or Keras's configuration file selects another backend, or
            `TF_USE_LEGACY_KERAS` selects Keras 2.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS", "").strip().lower() in ("1", "true"):
        raise ImportError("TF_USE_LEGACY_KERAS is set, but tf_simclrv2 needs Keras 3; unset it.")
    asked = _asked_backend()
    if asked != "tensorflow":
        raise ImportError(
            f"the Keras backend is {asked!r}, but tf_simclrv2 needs 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow before Keras is imported."
        )


def _asked_backend() -> str:
    """Returns the backend that Keras uses, or will use once imported, by the rules of its documentation."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    if asked := os.environ.get("KERAS_BACKEND"):
        return asked
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        with open(os.path.join(home, "keras.json"), encoding="utf-8") as file:
            return json.load(file).get("backend", "tensorflow")
    except (OSError, ValueError):
        return "tensorflow"
