"""Parts of a rehearsal that run in processes of their own, whose memory is free again when they end."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tf_simclrv2.errors import RunError
from tf_simclrv2.files import read_json


def run_child(
    name: str,
    program: Sequence[str],
    text: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    cure: str,
) -> dict[str, Any]:
    """Runs a Python program that reads a text and writes JSON, and waits for it.

    Args:
        name: What it is called in errors, such as "the TPU's compiler".
        program: What Python is to run. It gets the file of the text, the arguments, and the file to write.
        text: What it reads.
        arguments: Further ones.
        environment: Variables that it sees beside those of this process.
        cure: What to try if it crashes.

    Returns:
        What it wrote.

    Raises:
        RunError: It was killed, or ended without a result.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, result = os.path.join(folder, "given"), os.path.join(folder, "result.json")
        pathlib.Path(given).write_text(text)
        done = subprocess.run(
            [sys.executable, *program, given, *arguments, result],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if os.path.exists(result):
            return read_json(result)
    if done.returncode == -signal.SIGKILL:
        raise RunError(
            f"{name} was killed, probably because this machine ran out of memory; close other programs, "
            "add swap space, or rehearse on a larger machine."
        )
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise RunError(f"{name} ended with code {done.returncode} ({last}); {cure}.")
