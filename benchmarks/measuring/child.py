"""Measuring in a process of its own."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def numbers_of(command: list[str]) -> Any:
    """Runs a program and returns what its last line of output says, in JSON.

    Raises:
        subprocess.CalledProcessError: It failed; its own words are on standard error.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
