"""Keras 3 on TensorFlow: what has to be settled before TensorFlow is imported."""

from __future__ import annotations

import os


def prefer_onednn() -> None:
    """Lets TensorFlow compute with oneDNN on every x86 processor.

    By itself it does so only where it finds AVX-512; with AVX2 alone a convolution with its gradients then
    takes five to seven times as long. `TF_ENABLE_ONEDNN_OPTS` in the environment is respected. Without effect
    if TensorFlow is imported already.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def require_tensorflow() -> None:
    """Refuses other backends and the legacy Keras.

    Raises:
        ImportError: `KERAS_BACKEND`, Keras's own configuration or `TF_USE_LEGACY_KERAS` chooses
            something else.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS", "").strip().lower() in ("1", "true"):
        raise ImportError("TF_USE_LEGACY_KERAS is set, but tf_simclrv2 needs Keras 3; unset it.")
    asked = os.environ.get("KERAS_BACKEND", "tensorflow")
    if asked == "tensorflow":
        # Imported here, for with a backend that is not installed the import itself fails.
        import keras

        asked = keras.backend.backend()
    if asked != "tensorflow":
        raise ImportError(
            f"the Keras backend is {asked!r}, but tf_simclrv2 needs 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow before Keras is imported."
        )
