"""Requests that come together are computed together, and the faults of one are its own."""

from __future__ import annotations

import asyncio
import http.client
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.local_server import Answer, Client, base64_of, serving
from tests.serving.toy_modules import png, save_toy
from tf_simclrv2.serving import batcher, patient_protocol, rest_api
from tf_simclrv2.serving.batcher import Batcher
from tf_simclrv2.serving.refusal import Refusal
from tf_simclrv2.serving.signature import Signature, Tensors

# Longer than any test: a batch that is not full waits as long.
FOREVER = 60.0


class Doubling(Signature):
    """A signature that refuses negative numbers, and remembers how many examples each call had."""

    def __init__(self, is_batchable: bool = True) -> None:
        self.name = "doubling"
        self.is_batchable = is_batchable
        self.calls: list[int] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        self.calls.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise tf.errors.InvalidArgumentError(None, None, "x is negative")
        return {"y": inputs["x"] * 2}


class Summing(Doubling):
    """Breaks its word that there is an output for each example."""

    def __call__(self, inputs: Tensors) -> Tensors:
        return {"y": super().__call__(inputs)["y"].sum(0, keepdims=True)}


def ones(size: int, width: int = 2) -> Tensors:
    return {"x": np.ones([size, width], np.float32)}


def computed(batch_size: int, timeout: float, work: Callable[[Batcher], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Batcher(batch_size, timeout) as batcher:
            return await asyncio.wait_for(work(batcher), FOREVER / 2)

    return asyncio.run(run())


def together(
    signature: Signature, requests: list[Tensors], batch_size: int, timeout: float = FOREVER
) -> list[Any]:
    """What requests get that come at once."""

    async def work(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(
            *(batcher.compute(signature, inputs) for inputs in requests), return_exceptions=True
        )

    return computed(batch_size, timeout, work)


def test_a_full_batch_does_not_wait() -> None:
    signature = Doubling()
    requests = [{"x": np.full([size, 2], size, np.float32)} for size in (1, 2, 1, 3, 1)]
    for inputs, outputs in zip(requests, together(signature, requests, 4), strict=True):
        np.testing.assert_array_equal(outputs["y"], inputs["x"] * 2)
    assert signature.calls == [4, 4]


def test_what_is_not_full_is_computed_when_the_time_is_over() -> None:
    signature = Doubling()
    together(signature, [ones(1)] * 3, 4, timeout=0.05)
    assert signature.calls == [3]


def test_a_large_request_is_computed_in_parts() -> None:
    signature = Doubling()
    inputs = {"x": np.arange(20, dtype=np.float32).reshape(10, 2)}
    (outputs,) = together(signature, [inputs], 4, timeout=0.0)
    np.testing.assert_array_equal(outputs["y"], inputs["x"] * 2)
    assert signature.calls == [4, 4, 2]


def test_only_the_faulty_request_is_refused() -> None:
    signature = Doubling()
    requests = [ones(1) for _ in range(8)]
    requests[5]["x"][0, 1] = -1
    answers = together(signature, requests, 8)
    assert isinstance(answers.pop(5), Refusal)
    for outputs in answers:
        np.testing.assert_array_equal(outputs["y"], [[2, 2]])
    # The batch, and halves until the fault is alone.
    assert signature.calls == [8, 4, 4, 2, 1, 1, 2]


def test_a_fault_in_a_part_says_in_which() -> None:
    inputs = ones(10)
    inputs["x"][6] = -1
    (refusal,) = together(Doubling(), [inputs], 4, timeout=0.0)
    assert isinstance(refusal, Refusal) and str(refusal) == "of examples 4 to 7: x is negative."


def test_examples_of_another_shape_are_computed_apart() -> None:
    signature = Doubling()
    answers = together(signature, [ones(1), ones(1, 3), ones(1), ones(1, 3)], 2)
    assert [outputs["y"].shape for outputs in answers] == [(1, 2), (1, 3)] * 2
    assert signature.calls == [2, 2]


def test_large_examples_are_computed_by_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "MOST_BYTES", 20)
    signature = Doubling()
    together(signature, [ones(1, 2)] * 4, 4)  # Eight bytes each.
    together(signature, [ones(3, 2)] * 2, 4)
    assert signature.calls == [2, 2, 3, 3]


def test_what_has_no_examples_is_computed_alone() -> None:
    signature = Doubling(is_batchable=False)
    together(signature, [ones(1)] * 3, 4)
    assert signature.calls == [1, 1, 1]


def test_a_signature_without_an_output_for_each_example_is_called_for_each_request() -> None:
    answers = together(Summing(), [ones(2)] * 2, 4)
    for outputs in answers:
        np.testing.assert_array_equal(outputs["y"], [[4, 4]])


def test_such_a_signature_refuses_what_it_would_have_to_compute_in_parts() -> None:
    (refusal,) = together(Summing(), [ones(6)], 4, timeout=0.0)
    assert isinstance(refusal, Refusal)
    assert str(refusal) == "signature doubling does not answer example by example; send at most 4."


def test_a_request_that_is_given_up_harms_no_other() -> None:
    async def work(batcher: Batcher) -> Tensors:
        signature = Doubling()
        given_up = asyncio.create_task(batcher.compute(signature, ones(1)))
        await asyncio.sleep(0)
        given_up.cancel()
        return await batcher.compute(signature, ones(1))

    np.testing.assert_array_equal(computed(2, FOREVER, work)["y"], [[2, 2]])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("models") / "toy"
    save_toy(path)
    with serving(path, batch_size=8, batch_timeout=20.0) as client:
        yield client


def at_once(ask: Callable[[Any], Any], requests: list[Any], clients: int) -> list[Any]:
    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(ask, requests))


def test_a_mix_of_good_and_bad_requests(client: Client) -> None:
    """300 of them from 16 clients, a tenth of which are bad in one of several ways."""
    order = random.Random(0)
    requests, expected = [], []
    for number in range(300):
        if number % 10 == 0:
            bad = [base64_of(b"no image"), base64_of(png(1)[:50]), {"b64": "?"}, 3, base64_of(b"")]
            requests.append({"signature_name": "image_bytes", "instances": [bad[number // 10 % len(bad)]]})
            expected.append(None)
        elif number % 2:
            gray = order.randrange(256)
            requests.append({"signature_name": "image_bytes", "instances": [base64_of(png(gray))]})
            expected.append({"predictions": [[gray] * 3]})
        else:
            rows = [[order.randrange(100), order.randrange(100)] for _ in range(order.randrange(1, 4))]
            requests.append({"instances": rows})
            expected.append({"predictions": [{"scaled": [2 * a, 2 * b], "sum": a + b} for a, b in rows]})
    for answer, right in zip(at_once(client.predict, requests, 16), expected, strict=True):
        if right is None:
            assert answer.status == 400 and answer.body.keys() == {"error"}
        else:
            assert answer == (200, right)


def test_requests_of_several_clients_share_calls(client: Client) -> None:
    request = {"signature_name": "company", "instances": [[1, 1]]}
    counts = [answer.body["predictions"][0] for answer in at_once(client.predict, [request] * 64, 16)]
    assert max(counts) > 1 and max(counts) <= 8


def test_clients_that_leave_harm_no_other(
    client: Client, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"instances": [[1, 2]]}'
    head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def leave(number: int) -> Answer:
        """After a part of the head, a part of the body, or all of it; and asks again properly."""
        sent = (head[:20], head, head + body[:10], head + body)[number % 4]
        client.begin(sent).close()
        return client.predict(body)

    for answer in at_once(leave, list(range(40)), 8):
        assert answer == (200, {"predictions": [{"scaled": [2, 4], "sum": 3}]})
    # What Python says; TensorFlow's threads of other tests write to the terminal as well.
    assert capsys.readouterr().err == ""
    assert not caplog.records


def test_a_connection_without_a_request_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them takes a file number, and a head without end takes memory."""
    monkeypatch.setattr(patient_protocol, "HEAD_SECONDS", 1.0)
    for beginning in (b"", b"GET /healthz HTTP/1.1\r\nX:"):
        with client.begin(beginning) as connection:
            assert connection.recv(4096) == b""
    monkeypatch.setattr(patient_protocol, "HEAD_SECONDS", 60.0)
    with client.begin(b"GET /healthz HTTP/1.1\r\nX:") as connection, pytest.raises(ConnectionError):
        for _ in range(100):
            connection.sendall(10_000 * b"x")
            time.sleep(0.02)


def test_several_requests_come_on_one_connection(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a head stops when it is there."""
    monkeypatch.setattr(patient_protocol, "HEAD_SECONDS", 1.0)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        time.sleep(0.6)


def test_a_body_that_trickles_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_api, "SILENCE", 1.0)
    head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    with client.begin(head) as connection:
        for _ in range(6):
            connection.sendall(b" ")
            time.sleep(0.3)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_sends_no_more_holds_up_no_other(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_api, "SILENCE", 3.0)
    head = f"POST {client.base}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    silent = [client.begin(head + b'{"instances"') for _ in range(50)]
    assert client.predict({"inputs": [[1, 2]]}).status == 200
    for connection in silent:
        with connection:
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
