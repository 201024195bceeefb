"""Latency and images/s of an exported network and of the same network in PyTorch, on the same cores.

    python benchmarks/serving.py [--depth=50] [--image_size=224] [--batches=1,32] [--repeats=20]
        [--peer=torch] [--torch_python=.venv-torch/bin/python] [--json=serving.json]

Exports a ResNet of random weights with `save_module`, and asks the signatures `serving_default` (float
images) and `image_bytes` (JPEG files of 500x375) for every output. Beside them: the same network with the
same weights in PyTorch, eager and under `torch.compile`. All in float32 on all cores. Each contender is a
process of its own, and they take turns, so that a machine that slows down slows all of them. Prints a table
and, with --json, every time measured. --torch_python is for a PyTorch installed in another Python.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from benchmarks.contenders.serving_contender import OURS, Settings
from tf_simclrv2 import ModelConfig
from tf_simclrv2.config import RESNET_DEPTHS
from tf_simclrv2.models import SimCLR
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.modules.saved_model import save_module

CONTENDER = pathlib.Path(__file__).resolve().parent / "contenders" / "serving_contender.py"
SIGNATURES = ("serving_default", "image_bytes")
PEERS = ("torch eager", "torch.compile")
PICTURE_SIDES = (375, 500)
# Of the largest output; two libraries sum in another order.
TOLERANCE = 1e-3
# Cores that other programs may use without a word of it.
QUIET = 0.2


class ContenderError(Exception):
    """A process ended before it answered."""


class Process:
    """A contender's process, started at once.

    Args:
        name: See `serving_contender.CONTENDERS`.
        python: Its interpreter.
        folder: What `export` wrote.
    """

    def __init__(self, name: str, python: str, folder: pathlib.Path) -> None:
        self.log = folder / f"{name}.log"
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, str(CONTENDER), name, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **caches},
            )

    def answer(self) -> dict[str, Any]:
        """The next line of its output."""
        line = self.process.stdout.readline()
        if not line:
            raise ContenderError(f"{reason(self.log.read_text())} (exit code {self.process.wait()})")
        return json.loads(line)

    def seconds(self, signature: str, batch: int) -> float:
        """One turn."""
        with contextlib.suppress(BrokenPipeError):  # `answer` says why.
            print(signature, batch, file=self.process.stdin, flush=True)
        return self.answer()["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


@dataclasses.dataclass
class Result:
    """The times of one contender with one signature and one batch size."""

    contender: str
    signature: str
    batch: int
    seconds: list[float]

    @property
    def images_per_s(self) -> float:
        return self.batch / statistics.median(self.seconds)


def export(settings: Settings, folder: pathlib.Path) -> int:
    """Writes what the contenders load; returns how many numbers the weights are."""
    tf.keras.utils.set_random_seed(0)
    size = settings.image_size
    network = SimCLR(ModelConfig(resnet_depth=settings.depth, image_size=size))
    network.build((None, size, size, 3))
    variables = named_variables(network)
    randomize_norms(variables)
    save_module(network, str(folder / "module"))
    np.savez(folder / "weights.npz", **{path: value.numpy() for path, value in variables.items()})
    (folder / "picture.jpg").write_bytes(smooth_picture())
    (folder / "settings.json").write_text(json.dumps(dataclasses.asdict(settings)))
    return sum(int(np.prod(value.shape)) for value in variables.values())


def randomize_norms(variables: dict[str, Any]) -> None:
    """Gives batch norms weights as after training: a new network's zeros would hide the branches."""
    random = np.random.default_rng(0)
    ranges = {"gamma": (0.2, 0.6), "beta": (-0.1, 0.1), "moving_mean": (-0.1, 0.1)}
    ranges["moving_variance"] = (0.5, 1.5)
    for path, variable in variables.items():
        if bounds := ranges.get(path.rpartition("/")[2]):
            variable.assign(random.uniform(*bounds, variable.shape))


def smooth_picture() -> bytes:
    """A JPEG of random colors that flow into one another, always the same."""
    colors = np.random.default_rng(0).uniform(0, 255, (6, 8, 3))
    pixels = tf.clip_by_value(tf.image.resize(colors, PICTURE_SIDES, "bicubic"), 0, 255)
    return tf.io.encode_jpeg(tf.cast(pixels, tf.uint8)).numpy()


def reason(log: str) -> str:
    """What a failed program's output says went wrong: the last exception, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    exceptions = [
        line for line in lines if re.match(r"[\w.]*(Error|Exception|CompileFailed|Failure)\b", line)
    ]
    return (exceptions or lines or ["it said nothing"])[-1]


def missing_torch(python: str) -> str:
    """Why an interpreter cannot import PyTorch; empty if it can."""
    try:
        done = subprocess.run(
            [python, "-c", "import PIL, torch"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return str(error)
    return reason(done.stderr) if done.returncode else ""


def check_same(name: str, peer: dict[str, Any], ours: dict[str, Any], parameters: int) -> None:
    """Makes sure that a contender is the same network: as many weights, the same outputs."""
    assert peer["parameters"] == parameters, f"{name}: {peer['parameters']} weights instead of {parameters}"
    assert peer["outputs"].keys() == ours["outputs"].keys(), f"{name}: outputs {sorted(peer['outputs'])}"
    for output, value in ours["outputs"].items():
        expected, actual = np.asarray(value), np.asarray(peer["outputs"][output])
        assert expected.shape == actual.shape, f"{name}: {output} has the shape {actual.shape}"
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert error < TOLERANCE, f"{name}: {output} differs by {error:.1e} of its largest value"


def busy_cores() -> float:
    """How many cores' worth of work the whole machine does, over one second (Linux)."""

    def idle_seconds() -> float:
        fields = pathlib.Path("/proc/stat").read_text().split(maxsplit=6)
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")  # Idle, and waiting for a disk.

    before, start = idle_seconds(), time.perf_counter()
    time.sleep(1.0)
    idle = (idle_seconds() - before) / (time.perf_counter() - start)
    return max(0.0, os.cpu_count() - idle)


class Race:
    """The contenders of a run; one that fails drops out, with its reason in `failed`.

    Args:
        folder: What `export` wrote.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self.failed: dict[str, str] = {}

    def start(self, name: str, python: str) -> dict[str, Any]:
        """Starts a contender; returns what it reports at its start, which is nothing if that fails."""
        self.processes[name] = Process(name, python, self.folder)
        return self._attempt(name, self.processes[name].answer) or {}

    def measure(self, signature: str, batch: int, repeats: int) -> list[Result]:
        """Turn by turn; the first one is for compiling and warming up, and is not counted."""
        times: dict[str, list[float]] = {name: [] for name in self.processes}
        for _ in range(1 + repeats):
            for name, process in list(self.processes.items()):
                turn = functools.partial(process.seconds, signature, batch)
                times[name].append(self._attempt(name, turn) or 0.0)
        return [Result(name, signature, batch, times[name][1:]) for name in self.processes]

    def _attempt(self, name: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except ContenderError as error:
            if name == OURS:
                raise
            self.failed[name] = str(error)
            self.processes.pop(name).close()
            print(f"{name:<15} does not work here: {error}")
            return None

    def close(self) -> None:
        """Ends all processes."""
        for process in self.processes.values():
            process.close()


def print_start(name: str, start: dict[str, Any]) -> None:
    """A line of the table of what loading takes."""
    print(
        f"{name:<15}{start['load_s']:>8.2f}{start['first_request_s']:>17.2f}{start['peak_import_mb']:>20.0f}"
        f"{start['peak_load_mb']:>11.0f}{start['peak_first_request_mb']:>13.0f}   {start['version']}"
    )


def print_results(results: list[Result]) -> None:
    """The lines of one signature and batch size; ours comes first."""
    for result in results:
        ms = [1000 * seconds for seconds in result.seconds]
        ratio = results[0].images_per_s / result.images_per_s
        print(
            f"{result.signature:<17}{result.batch:>6}  {result.contender:<15}{statistics.median(ms):>11.2f}"
            f"{min(ms):>10.2f}{max(ms):>10.2f}{result.images_per_s:>10.2f}{ratio:>11.2f}"
        )


def start_all(race: Race, pythons: dict[str, str], parameters: int) -> dict[str, Any]:
    """Starts the contenders one by one, checks that they are the same network, and prints what it took."""
    print(
        f"{'contender':<15}{'load s':>8}{'first request s':>17}{'peak MB: import':>20}{'load':>11}"
        f"{'one request':>13}"
    )
    starts: dict[str, Any] = {}
    for name, python in pythons.items():
        if start := race.start(name, python):
            check_same(name, start, starts.get(OURS, start), parameters)
            print_start(name, start)
            starts[name] = start
    return {name: {k: v for k, v in start.items() if k != "outputs"} for name, start in starts.items()}


def run(settings: Settings, batches: list[int], repeats: int, pythons: dict[str, str]) -> dict[str, Any]:
    """Measures the contenders and prints the tables; returns the numbers."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Race(pathlib.Path(folder))) as race:
        parameters = export(settings, race.folder)
        print(f"{parameters} weights, moving statistics included")
        starts = start_all(race, pythons, parameters)
        print(
            f"{'signature':<17}{'batch':>6}  {'contender':<15}{'median ms':>11}{'fastest':>10}"
            f"{'slowest':>10}{'images/s':>10}{'ours/this':>11}"
        )
        results: list[Result] = []
        for signature in SIGNATURES:
            for batch in batches:
                rows = race.measure(signature, batch, repeats)
                print_results(rows)
                results += rows
    return {
        "parameters": parameters,
        "starts": starts,
        "failed": race.failed,
        "results": [{**dataclasses.asdict(row), "images_per_s": row.images_per_s} for row in results],
    }


def whole_numbers(text: str) -> list[int]:
    """`1,32` as numbers."""
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("a batch holds one image at least")
    return numbers


def main() -> None:
    """Measures what is asked for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, choices=RESNET_DEPTHS)
    parser.add_argument("--image_size", type=int, default=224, help="a multiple of 4, above 32")
    parser.add_argument("--batches", type=whole_numbers, default=[1, 32], help="default: 1,32")
    parser.add_argument("--repeats", type=int, default=20, help="turns measured after the warm-up")
    parser.add_argument("--peer", default="torch", choices=["torch", "none"])
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--json", help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.image_size <= 32 or arguments.image_size % 4:
        parser.error("--image_size must be a multiple of 4 above 32, as the PyTorch network wants it")
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    cores = len(os.sched_getaffinity(0))
    settings = Settings(arguments.depth, arguments.image_size, threads=cores)
    machine = f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"
    print(
        f"{machine}; ResNet-{settings.depth} at {settings.image_size} px, float32, "
        f"{cores} threads each, {arguments.repeats} repeats; PyTorch in channels_last"
    )
    busy = busy_cores()
    if busy > QUIET:
        print(
            f"{busy:.1f} cores are busy with other programs, where threads that wait for one another, "
            "PyTorch's above all, take many times as long: measure on a quiet machine."
        )
    omp = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_"))}
    if omp:
        print("PyTorch's threads are set by", ", ".join(f"{name}={value}" for name, value in omp.items()))
    pythons = {OURS: sys.executable}
    if arguments.peer == "torch":
        if why := missing_torch(arguments.torch_python):
            print(f"{arguments.torch_python} has no PyTorch with Pillow ({why}): only ours is measured.")
        else:
            pythons |= dict.fromkeys(PEERS, arguments.torch_python)
    numbers = run(settings, arguments.batches, arguments.repeats, pythons)
    if arguments.json:
        start = {
            "machine": machine,
            "busy_cores_before": busy,
            "openmp": omp,
            "settings": dataclasses.asdict(settings),
        }
        pathlib.Path(arguments.json).write_text(json.dumps({**start, **numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
