"""What TensorFlow makes of a run's step; it is traced in a process of its own."""

from __future__ import annotations

import os
import sys

from tf_simclrv2 import errors
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.rehearsal.child_process import run_child

# -P leaves out the folder in which this process was started.
_PROGRAM = ("-P", "-m", "tf_simclrv2.rehearsal.tracing_process")


def traced_step(config: ExperimentConfig, replicas: int) -> str:
    """Returns the program of a core, StableHLO.

    Args:
        config: The run, with its number of classes.
        replicas: The cores that share a batch.

    Raises:
        ConfigError: An operation of it cannot be in a TPU's program.
        RunError: This machine has too little memory.

    Example:
        >>> text = traced_step(with_classes(ExperimentConfig(), 1000), 8)
    """
    environment = {
        # It imports what this process would.
        "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path),
        "CUDA_VISIBLE_DEVICES": "",
    }
    cure = "report it, or try a smaller batch"
    found = run_child("tracing the step", _PROGRAM, config.to_json(), [str(replicas)], environment, cure)
    if "error" in found:
        raise getattr(errors, found["kind"])(found["error"])
    return found["program"]
