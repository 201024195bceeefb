"""Traces the step of a run, and writes the program of a core.

    python -m tf_simclrv2.rehearsal.tracing_process CONFIG REPLICAS RESULT

It is a process of its own, because the weights of the largest networks take gigabytes: TensorFlow's allocator
keeps what was freed, and its registry of gradients keeps a traced step, with its weights, for good.
"""

from __future__ import annotations

import pathlib
import sys

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.distribution.device_errors import device_errors_explained
from tf_simclrv2.errors import RunError, UserError
from tf_simclrv2.files import write_json
from tf_simclrv2.precision import set_tf32
from tf_simclrv2.rehearsal.compiler_process import end_with_parent
from tf_simclrv2.rehearsal.run_step import run_step
from tf_simclrv2.rehearsal.step_program import step_program

CURES = "free memory of this machine, which holds the weights while the step is traced"


def main() -> None:
    """Writes JSON: the `program`, or the `error` that a user can mend and the `kind` of it."""
    end_with_parent()
    config, replicas, result = sys.argv[1:]
    try:
        with device_errors_explained(CURES):
            text = traced(ExperimentConfig.from_json(pathlib.Path(config).read_text()), int(replicas))
    except (UserError, RunError) as error:
        write_json(result, {"error": str(error), "kind": type(error).__name__})
    else:
        write_json(result, {"program": text})


def traced(config: ExperimentConfig, replicas: int) -> str:
    """Returns the step of a run in StableHLO.

    Args:
        config: The run, with its number of classes.
        replicas: The cores that share a batch.

    Raises:
        ConfigError: An operation of it cannot be in a TPU's program.
    """
    set_tf32(config.training.tf32)  # On a TPU it also decides how products are rounded.
    strategy = CompileOnlyStrategy(replicas)
    run = run_step(config, strategy)
    return step_program(run.step, run.specs, strategy).text


if __name__ == "__main__":
    main()
