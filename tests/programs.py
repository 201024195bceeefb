"""Programs that tests start, watch and interrupt: real processes with their words in a file."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Arguments of Python, followed by a module and its own: `run` for `run.py`.
SMALL_PROGRAM = ("-m", "tests.small_program")
# A run of seconds, the same to the last bit however often it is stopped.
SMALL_RUN = [
    "--dataset=digits",
    "--train_split=train[:100]",
    "--image_size=8",
    "--resnet_depth=18",
    "--train_batch_size=16",
    "--deterministic",
    "--warmup_epochs=0",
    "--steps_per_loop=1",
]


def start(command: Sequence[str], log: pathlib.Path, **environment: str) -> subprocess.Popen:
    """Python with these arguments, in the checkout; its lines go to a file."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**clean, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finished(command: Sequence[str], patience: float, **options: Any) -> subprocess.CompletedProcess:
    """What a command, run in the checkout, leaves: its exit code and its words.

    Args:
        command: The interpreter comes first.
        patience: Seconds until it must have ended.
        options: Of `subprocess.run`.
    """
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience,
        **options,
    )


def port_of(server: subprocess.Popen, log: pathlib.Path, patience: float = 120) -> int:
    """Where `simclrv2 serve` listens, once it says so in its log; a server that ends before is a failure."""
    end = time.monotonic() + patience
    while not (found := re.search(r"at http://127\.0\.0\.1:(\d+)/", log.read_text())):
        assert server.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return int(found[1])


def newest_step(directory: pathlib.Path) -> int:
    """The step of the newest checkpoint; 0 before there is one."""
    return max((int(path.stem.split("-")[1]) for path in directory.glob("ckpt-*.index")), default=0)


def wait_for_step(
    directory: pathlib.Path,
    step: int,
    processes: Sequence[subprocess.Popen],
    logs: Sequence[pathlib.Path],
    patience: float,
) -> None:
    """Until a checkpoint of that step or a later one is there; a process that ends before is a failure."""
    end = time.monotonic() + patience
    while newest_step(directory) < step:
        waiting = all(process.poll() is None for process in processes) and time.monotonic() < end
        assert waiting, f"step {step} was not reached: {[log.read_text() for log in logs]}"
        time.sleep(0.01)


def values_of(directory: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """All that a checkpoint holds, by key, but for how often its history was saved."""
    reader = tf.train.load_checkpoint(str(directory / f"ckpt-{step}"))
    keys = reader.get_variable_to_shape_map()
    return {key: reader.get_tensor(key) for key in keys if not key.startswith(("save_counter", "_CHECK"))}
