"""Real worker processes on this machine, a cluster of their own."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.programs import start


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def tf_config(ports: Sequence[int], index: int) -> str:
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


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
