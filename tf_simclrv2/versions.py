"""Lists the versions that a run or an export was made with."""

from __future__ import annotations

import platform

import keras
import tensorflow as tf

from tf_simclrv2.version import VERSION


def versions() -> dict[str, str]:
    """Returns the versions of this package, and of those that results depend on, by name."""
    return {
        "tf_simclrv2": VERSION,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
