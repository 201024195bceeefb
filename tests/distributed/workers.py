"""Real worker processes on this machine, a cluster of their own."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def tf_config(ports: Sequence[int], index: int) -> str:
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def start(command: Sequence[str], log: pathlib.Path, **environment: str) -> subprocess.Popen:
    """A Python program whose lines go to a file."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    quiet = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**clean, **quiet, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def pair(command: Sequence[str], logs: pathlib.Path) -> Iterator[list[subprocess.Popen]]:
    """Two workers that run the same command; killed if they are still there in the end."""
    ports = free_ports(2)
    workers = [
        start(command, logs / f"worker_{index}.log", TF_CONFIG=tf_config(ports, index)) for index in range(2)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def said(logs: pathlib.Path, index: int) -> str:
    return (logs / f"worker_{index}.log").read_text()
