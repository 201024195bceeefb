"""Requests/s of `simclrv2 serve` under load, compared with its signature called in a loop; and a soak.

    python benchmarks/serving_load.py [--depth=50] [--image_size=224] [--batch_size=32] [--requests=640]
        [--rounds=3] [--soak=10000] [--json=serving_load.json]

Exports a ResNet of random weights and starts the server as a user does. Twice as many clients as a batch has
images ask it for one JPEG file of 500x375 each, and ask again when they are answered. In turn with that, this
process calls the same signature with batches of as many files. Client and server share the machine. The share
is the server's images/s of the loop's.

--soak sends so many requests, a tenth of which are bad in one of several ways, checks every answer, and
reports the server's resident memory after each tenth of them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import psutil
import tensorflow as tf

from benchmarks.contenders.serving_contender import Settings
from benchmarks.measuring.machine import machine
from benchmarks.serving import PICTURE_SIDES, export, smooth_picture
from tf_simclrv2.config import RESNET_DEPTHS

SIGNATURE = "image_bytes"
# Different pictures of the soak, and the largest difference of an answer, of its norm: batches of other sizes
# sum in another order.
PICTURES = 16
TOLERANCE = 1e-5
# How often the soak looks at the server's memory.
TENTHS = 10
# Every so many requests of the soak are bad.
BAD_EVERY = 10


@dataclasses.dataclass
class Program:
    """A running server.

    Attributes:
        process: Its process.
        port: Where it listens, on this machine.
        path: Of the predict requests.
    """

    process: psutil.Process
    port: int
    path: str

    @property
    def resident_mb(self) -> float:
        return self.process.memory_info().rss / 1e6

    @property
    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def server(module: pathlib.Path, batch_size: int) -> Iterator[Program]:
    """Runs the program while its context lasts, and ends it as a user does."""
    words = ["serve", str(module), "--port=0", f"--batch_size={batch_size}"]
    command = [sys.executable, "-m", "tf_simclrv2", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.compile(r"http://127\.0\.0\.1:(\d+)(/\S+);")
        # The first line may say that TensorFlow still starts.
        found = next(filter(None, map(address.search, iter(process.stdout.readline, ""))), None)
        assert found, "the server did not start"
        try:
            yield Program(psutil.Process(process.pid), int(found[1]), f"{found[2]}:predict")
        finally:
            process.terminate()
    assert process.returncode == 0, f"the server ended with {process.returncode}"


@dataclasses.dataclass
class Answer:
    """What came back for one request, and how long it took."""

    number: int
    status: int
    body: bytes
    seconds: float


async def ask_all(
    program: Program, bodies: Callable[[int], bytes], count: int, clients: int, see: Callable[[Answer], None]
) -> float:
    """Asks with several clients at a time; returns how many seconds all of it took.

    Args:
        program: The server.
        bodies: The body of each request by its number.
        count: How many requests.
        clients: Each has a connection, and asks again when it is answered.
        see: Receives each answer.
    """
    numbers = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
        for number in numbers:
            body = bodies(number)
            start = time.perf_counter()
            head = f"POST {program.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer)
            assert length, answer
            content = await reader.readexactly(int(length[1]))
            see(Answer(number, int(answer.split()[1]), content, time.perf_counter() - start))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - start


def request_of(*contents: bytes) -> bytes:
    """The body of a request for some files."""
    instances = [{"b64": base64.b64encode(content).decode()} for content in contents]
    return json.dumps({"signature_name": SIGNATURE, "instances": instances}).encode()


@dataclasses.dataclass
class Turn:
    """What one contender did without a break.

    Attributes:
        images: How many it computed.
        seconds: How long that took.
        cpu_seconds: Of its process, on all cores.
        latencies: Seconds of each request, or of each batch in the loop.
    """

    images: int
    seconds: float
    cpu_seconds: float
    latencies: list[float]


def served(program: Program, picture: bytes, requests: int, batch_size: int) -> Turn:
    """The server under load."""
    body, latencies = request_of(picture), []

    def see(answer: Answer) -> None:
        assert answer.status == 200, answer.body
        latencies.append(answer.seconds)

    before = program.cpu_seconds
    seconds = asyncio.run(ask_all(program, lambda _: body, requests, 2 * batch_size, see))
    return Turn(requests, seconds, program.cpu_seconds - before, latencies)


def looped(signature: Callable, picture: bytes, requests: int, batch_size: int) -> Turn:
    """The signature, called with one batch after the other."""
    latencies, before = [], time.process_time()
    for _ in range(max(1, requests // batch_size)):
        start = time.perf_counter()
        outputs = signature(image_bytes=tf.constant([picture] * batch_size))
        _ = [output.numpy() for output in outputs.values()]
        latencies.append(time.perf_counter() - start)
    return Turn(len(latencies) * batch_size, sum(latencies), time.process_time() - before, latencies)


def compare(program: Program, signature: Callable, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures both in turn, prints a table, and returns the numbers."""
    picture = smooth_picture()
    contenders = {
        "signature in a loop": lambda count: looped(signature, picture, count, arguments.batch_size),
        "simclrv2 serve": lambda count: served(program, picture, count, arguments.batch_size),
    }
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(1 + arguments.rounds):
        for name, take_turn in contenders.items():
            # The first turn is for warming up.
            turn = take_turn(arguments.requests if number else 4 * arguments.batch_size)
            turns[name] += [turn] if number else []
    print(f"{'':<22}{'images/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms/image':>14}")
    for name, taken in turns.items():
        p50, p99 = (1000 * np.quantile([s for turn in taken for s in turn.latencies], q) for q in (0.5, 0.99))
        rate = statistics.median(turn.images / turn.seconds for turn in taken)
        cpu = 1000 * statistics.median(turn.cpu_seconds / turn.images for turn in taken)
        print(f"{name:<22}{rate:>10.1f}{p50:>10.1f}{p99:>10.1f}{cpu:>14.2f}")
    pairs = list(zip(*turns.values(), strict=True))
    share = statistics.median(
        (serve.images / serve.seconds) / (loop.images / loop.seconds) for loop, serve in pairs
    )
    print(f"share: {share:.2f} (median of {arguments.rounds} turns)")
    numbers = {name: [dataclasses.asdict(turn) for turn in taken] for name, taken in turns.items()}
    return {"turns": numbers, "share": share}


def pictures(count: int) -> list[bytes]:
    """Small pictures that differ, as JPEG and PNG in turn."""
    random = np.random.default_rng(0)
    encoders = (tf.io.encode_jpeg, tf.io.encode_png)
    pixels = [random.integers(0, 256, (6, 8, 3)) for _ in range(count)]
    large = [tf.cast(tf.image.resize(one, [side // 5 for side in PICTURE_SIDES]), tf.uint8) for one in pixels]
    return [encoders[number % 2](one).numpy() for number, one in enumerate(large)]


def soak(program: Program, signature: Callable, count: int, clients: int) -> dict[str, Any]:
    """Sends good and bad requests, checks every answer, and returns what memory they took."""
    files = pictures(PICTURES)
    expected = {name: out.numpy() for name, out in signature(image_bytes=tf.constant(files)).items()}
    good = [request_of(file) for file in files]
    bad = [
        request_of(b"no image"),
        request_of(files[0][:200]),
        request_of(files[1][:60]),
        request_of(files[0], b""),
        b'{"instances": [[[[NaN, 0, 0]]]]}',
        b'{"instances": [[1, 2]]}',
        b'{"signature_name": "none", "instances": [1]}',
        b'{"instances": [',
    ]
    memory: list[float] = []
    statuses: dict[int, int] = {}

    def body_of(number: int) -> bytes:
        if number and number % (count // TENTHS) == 0:
            memory.append(program.resident_mb)
        which = bad if number % BAD_EVERY == 0 else good
        return which[number // BAD_EVERY % len(which) if which is bad else number % len(which)]

    def see(answer: Answer) -> None:
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        content = json.loads(answer.body)
        if answer.number % BAD_EVERY == 0:
            assert 400 <= answer.status < 500 and content.keys() == {"error"}, answer
            return
        assert answer.status == 200, answer
        (row,) = content["predictions"]
        for name, values in expected.items():
            right = values[answer.number % len(good)]
            difference = np.linalg.norm(right - np.float32(row[name])) / np.linalg.norm(right)
            assert difference < TOLERANCE, f"request {answer.number}: {name} differs by {difference:.1e}"

    start = program.resident_mb
    seconds = asyncio.run(ask_all(program, body_of, count, clients, see))
    memory.append(program.resident_mb)
    found = {"requests": count, "seconds": seconds, "statuses": statuses}
    print(f"soak: {count} requests in {seconds:.0f} s, every answer right; by status {statuses}")
    print(f"resident MB: {start:.0f} before, after each tenth {', '.join(f'{mb:.0f}' for mb in memory)}")
    return {**found, "resident_mb": [start, *memory]}


def positive(text: str) -> int:
    """A whole number above 0."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, choices=RESNET_DEPTHS)
    parser.add_argument("--image_size", type=positive, default=224)
    parser.add_argument("--batch_size", type=positive, default=32, help="images computed together")
    parser.add_argument("--requests", type=positive, default=640, help="of a turn")
    parser.add_argument("--rounds", type=positive, default=3, help="turns measured after the warm-up")
    parser.add_argument("--soak", type=int, default=0, help="requests of the soak; 0 leaves it out")
    parser.add_argument("--json", help="file for the numbers")
    return parser.parse_args(words)


def main() -> None:
    """Measures and prints."""
    arguments = parsed()
    print(machine())
    print(f"ResNet-{arguments.depth} at {arguments.image_size} px, batches of {arguments.batch_size}")
    settings = Settings(arguments.depth, arguments.image_size, threads=len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        export(settings, pathlib.Path(folder))
        module = pathlib.Path(folder) / "module"
        signature = tf.saved_model.load(str(module)).signatures[SIGNATURE]
        with server(module, arguments.batch_size) as program:
            numbers = {"machine": machine(), **compare(program, signature, arguments)}
            if arguments.soak:
                clients = 2 * arguments.batch_size
                numbers["soak"] = soak(program, signature, arguments.soak, clients)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
