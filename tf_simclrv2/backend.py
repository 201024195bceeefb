"""Keras 3 on TensorFlow: what has to be settled before TensorFlow is imported."""

from __future__ import annotations

import json
import os
import sys


def prefer_onednn() -> None:
    """Lets TensorFlow compute with oneDNN on every x86 processor.

    By itself it does so only where it finds AVX-512; with AVX2 alone a convolution with its gradients then
    takes five to seven times as long. `TF_ENABLE_ONEDNN_OPTS` in the environment is respected. Without effect
    if TensorFlow is imported already.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def require_tensorflow() -> None:
    """Refuses other backends and the legacy Keras, without importing Keras.

    Raises:
        ImportError: `KERAS_BACKEND`, Keras's own configuration or `TF_USE_LEGACY_KERAS` chooses
            something else.
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
    """What Keras runs on, or will once it is imported; by the rules of its documentation."""
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
