"""Keras 3 on TensorFlow: settings that must be made before TensorFlow is imported."""

from __future__ import annotations

import json
import os
import sys


def prefer_onednn() -> None:
    """Makes TensorFlow use oneDNN on every x86 processor.

    By default it does so only if the processor has AVX-512. With AVX2 alone, a convolution and its gradients
    take five to seven times as long without oneDNN. A value of `TF_ENABLE_ONEDNN_OPTS` in the environment is
    respected. The call has no effect if TensorFlow is imported already.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


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
