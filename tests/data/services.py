"""Real processes of `python -m tf_simclrv2.data.service` on this machine."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.programs import start

_STARTED_WITHIN = 120


@dataclasses.dataclass
class ServiceProcess:
    """A service, and where a training finds it."""

    process: subprocess.Popen
    address: str


@contextmanager
def serving(logs: pathlib.Path, count: int = 1) -> Iterator[list[ServiceProcess]]:
    """Services that are killed if they are still there in the end."""
    files = [logs / f"service_{number}.log" for number in range(count)]
    command = ["-m", "tf_simclrv2.data.service", "--port=0", "--host=localhost"]
    processes = [start(command, file) for file in files]
    try:
        yield [
            ServiceProcess(process, _address(process, file))
            for process, file in zip(processes, files, strict=True)
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen, log: pathlib.Path) -> str:
    end = time.monotonic() + _STARTED_WITHIN
    while not (found := re.search(r"--tf_data_service=(grpc://\S+)\n", log.read_text())):
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return found[1]
