"""A server in a thread of the test, and a client that speaks HTTP to it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tf_simclrv2.serving.bound_socket import bound_socket
from tf_simclrv2.serving.module_versions import find_versions
from tf_simclrv2.serving.serve_config import ServeConfig
from tf_simclrv2.serving.served_model import load_model
from tf_simclrv2.serving.server import Server

_STARTED_WITHIN = 30.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any


class Client:
    """Asks a server about one model; each request has a connection of its own.

    Args:
        port: Of the server, on this machine.
        name: Of the model.
    """

    def __init__(self, port: int, name: str) -> None:
        self.port = port
        self.base = f"/v1/models/{name}"

    def ask(self, path: str, body: bytes | None = None, method: str = "GET", **headers: str) -> Answer:
        """Sends a request to an address, and reads JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()))

    def predict(self, document: Any, version: str = "") -> Answer:
        """Sends a predict request; bytes and text go as they are, anything else as JSON."""
        if isinstance(document, str):
            document = document.encode()
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.ask(f"{self.base}{version}:predict", body, "POST")

    def begin(self, head: bytes) -> socket.socket:
        """A connection on which a part of a request has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(head)
        return connection


def base64_of(contents: bytes) -> dict[str, str]:
    """A file as it stands in a request."""
    return {"b64": base64.b64encode(contents).decode()}


@contextlib.contextmanager
def serving(module: pathlib.Path, **settings: Any) -> Iterator[Client]:
    """Serves a module in a thread while its context lasts."""
    config = ServeConfig(str(module), port=0, **settings)
    model = load_model(find_versions(config.module), config.name)
    with bound_socket(config.host, config.port) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        server = Server(model, config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
        thread.start()
        try:
            end = time.monotonic() + _STARTED_WITHIN
            while not server.started and time.monotonic() < end:
                time.sleep(0.01)
            yield Client(port, model.name)
        finally:
            server.should_exit = True
            thread.join(_STARTED_WITHIN)
    assert not thread.is_alive()
