"""`simclrv2 serve` as a user runs it: it says where it is, answers, and stops when it is told to."""

from __future__ import annotations

import pathlib
import re
import signal
import socket
import sys
import threading
import time

import pytest

from tests.programs import finished, port_of, start
from tests.serving.local_server import Client
from tests.serving.toy_modules import save_toy
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.serving.bound_socket import bound_socket

_STARTED_WITHIN = 120


def test_it_stops_when_it_is_told_to_and_answers_before(tmp_path: pathlib.Path) -> None:
    save_toy(tmp_path / "models" / "1")
    log = tmp_path / "log"
    # A request waits for others for so long that the signal comes in between.
    words = ["serve", str(tmp_path / "models"), "--name=toy", "--port=0", "--batch_timeout=3000"]
    program = start(["-m", "tf_simclrv2", *words], log)
    try:
        port = port_of(program, log)
        client = Client(port, "toy")
        other = [sys.executable, "-m", "tf_simclrv2", "serve", str(tmp_path), f"--port={port}"]
        refused = finished(other, _STARTED_WITHIN)
        assert refused.returncode == 1
        assert re.fullmatch(
            rf"error: port {port} of 127\.0\.0\.1 cannot be opened \(.*\); stop the program .*\n",
            refused.stderr,
        )
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.predict({"inputs": [[1, 2]]})))
        asking.start()
        time.sleep(0.5)
        assert not answers
        program.send_signal(signal.SIGTERM)
        asking.join()
        assert program.wait(_STARTED_WITHIN) == 0
    finally:
        program.kill()
        program.wait()
    assert answers == [(200, {"outputs": {"scaled": [[2, 4]], "sum": [3]}})]
    # A slow machine hears that TensorFlow still starts.
    first, last = (line for line in log.read_text().splitlines() if not line.endswith(" so far"))
    assert first == f"serving version 1 at http://127.0.0.1:{port}/v1/models/toy; Ctrl-C stops it"
    assert last == "stopped"


def test_a_port_in_use(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"^port {port} of 127\.0\.0\.1 cannot be opened \(Address already"
        ):
            bound_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no such host", "host is 'no such host', which is not found"),
        ("a..b", r"host is 'a\.\.b', which is not found"),
        ("192.0.2.1", r"port 0 of 192\.0\.2\.1 cannot be opened \(Cannot assign"),
    ],
)
def test_a_host_that_is_not_this_machine(host: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        bound_socket(host, 0)
