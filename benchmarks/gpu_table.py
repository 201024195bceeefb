"""The table of a GPU: every row that docs/performance.md has, and a profile of the step by kernel.

    python benchmarks/gpu_table.py [--row=NAME ...] [--precision=mixed_bfloat16] [--rounds=1] [--steps=5]
        [--torch_python=PATH] [--published=FOLDER] [--published_python=PATH] [--results=runs/gpu_table.json]
    python benchmarks/gpu_table.py --list

Rows are steps of `train_step.py`, each in a process of its own: ours in every mode of `--compile` and
without blur; PyTorch, eager and under torch.compile; the published program, if its folder is given;
ResNet-18 at 32 px; and the largest batch of ResNet-152 (3x, selective kernels) that trains with
`--rematerialize`, found by doubling and bisecting. With several GPUs there are rows for all of them, with
128 images each. What was measured is in the file of --results; a row that is there is not measured again,
so that the command can be stopped and typed again. A row that fails is said to, and the others go on.
Without a GPU there is nothing to measure.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from benchmarks import profile_step
from benchmarks.contenders.published import published_command
from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.machine import machine
from benchmarks.measuring.results_file import ResultsFile
from benchmarks.train_step import (
    GPU_CALLS,
    POINTS,
    PRECISIONS,
    MeasuredStep,
    choose_device,
    torch_command,
)

R50, R18, R152 = "r50_224px_b128", "r18_32px_b512", "r152_3x_sk_224px_b8"
PROFILE = "profile"
# The search for the largest batch ends when it is known to this share of itself.
FINENESS = 1 / 16
STEPS_OF_SEARCH = 2
# What the process of a batch that is too large says.
OUT_OF_MEMORY = ("out of memory", "resource_exhausted", "resourceexhausted", "failed to allocate")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all rows of a file were measured with.

    Attributes:
        machine: As `machine` names it.
        precision: Of ours and of PyTorch.
        rounds: Turns of each row.
        steps: Of a turn, after the warm-up.
    """

    machine: str
    precision: str = "mixed_bfloat16"
    rounds: int = 1
    steps: int = 5


@dataclasses.dataclass(frozen=True)
class Programs:
    """Where the other programs are; an empty folder leaves the published one out."""

    torch_python: str = sys.executable
    published: str = ""
    published_python: str = sys.executable


Result = dict[str, Any]
Row = Callable[[], Result]


def rows(settings: Settings, programs: Programs, gpus: int) -> dict[str, Row]:
    """What to measure, by name, each in one call.

    Args:
        settings: Of all rows.
        programs: The others.
        gpus: How many there are.
    """

    def ours(point: str, **options: Any) -> MeasuredStep:
        model, batch_size = POINTS[point]
        batch_size *= options.get("replicas", 1)
        options = {"replicas": 1, "precision": settings.precision, "calls": GPU_CALLS, **options}
        return MeasuredStep(model, batch_size, **options)

    steps = {
        "r50, auto": ours(R50),
        "r50, cluster": ours(R50, compile="cluster"),
        "r50, none": ours(R50, compile="none"),
        "r50, auto, without blur": ours(R50, blur=False),
        "r18, auto": ours(R18),
    }
    if gpus > 1:
        modes = ("cluster", "none")
        steps |= {f"r50, {gpus} GPUs, {mode}": ours(R50, compile=mode, replicas=gpus) for mode in modes}
    found: dict[str, Row] = {name: row_of_step(step, settings) for name, step in steps.items()}
    found |= rows_of_others(settings, programs)
    largest = dataclasses.replace(ours(R152), rematerialize=True, calls=1)
    found["r152 3x sk, auto, rematerialized"] = lambda: measured_largest(largest)
    found[PROFILE] = lambda: numbers_of(profile_step.command(steps["r50, auto"], steps=settings.steps))
    return found


def row_of_step(step: MeasuredStep, settings: Settings) -> Row:
    """A row of ours."""
    command, batch_size = step.command(settings.steps), step.batch_size
    return lambda: measured(command, batch_size, settings.rounds)


def rows_of_others(settings: Settings, programs: Programs) -> dict[str, Row]:
    """The rows of PyTorch and the published program."""
    found: dict[str, Row] = {}
    for name, point in (("r50", R50), ("r18", R18)):
        model, batch_size = POINTS[point]
        common = (model, batch_size, settings.precision, settings.steps, GPU_CALLS)
        commands = {
            f"{name}, PyTorch": torch_command(programs.torch_python, "torch", *common),
            f"{name}, torch.compile": torch_command(programs.torch_python, "compile", *common),
        }
        if programs.published:
            commands[f"{name}, published, float32"] = published_command(
                programs.published_python,
                programs.published,
                "train",
                model,
                batch_size,
                settings.steps,
                GPU_CALLS,
            )
        for row, command in commands.items():
            found[row] = lambda command=command, batch_size=batch_size: measured(
                command, batch_size, settings.rounds
            )
    return found


def measured(command: list[str], batch_size: int, rounds: int) -> Result:
    """Some turns of a program as one result."""
    turns = [numbers_of(command) for _ in range(rounds)]
    return {
        "batch_size": batch_size,
        "step_s": [second for turn in turns for second in turn["step_s"]],
        "first_step_s": [turn["first_step_s"] for turn in turns],
        "device_peak_mb": max((turn.get("device_peak_mb", 0) for turn in turns), default=0),
    }


def measured_largest(step: MeasuredStep) -> Result:
    """The result of the largest batch that trains, from the step's own on."""
    found: dict[int, Result] = {}

    def trains(batch_size: int) -> bool:
        command = dataclasses.replace(step, batch_size=batch_size).command(STEPS_OF_SEARCH)
        result = result_or_none(command, batch_size)
        if result is not None:
            found[batch_size] = result
        return result is not None

    return found[largest_batch(trains, step.batch_size)]


def result_or_none(command: list[str], batch_size: int) -> Result | None:
    """One turn of a program; None if it ran out of memory.

    Raises:
        subprocess.CalledProcessError: It failed for another reason.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        printed = [sys.executable, "-c", "import sys; print(sys.argv[1])", done.stdout.splitlines()[-1]]
        return measured(printed, batch_size, rounds=1)
    if any(words in done.stderr.lower() for words in OUT_OF_MEMORY):
        return None
    print(done.stderr[-2000:], file=sys.stderr)
    raise subprocess.CalledProcessError(done.returncode, command)


def largest_batch(trains: Callable[[int], bool], start: int) -> int:
    """The largest batch that trains, found by doubling, then by bisecting to a share of itself.

    Args:
        trains: Whether a batch does; all smaller ones do then.
        start: The first to try.

    Raises:
        SystemExit: Not even one image trains.
    """
    if not trains(start):
        if start == 1:
            raise SystemExit("Not even a batch of 1 image trains.")
        return largest_batch(trains, start // 2)
    low, high = start, 2 * start
    while trains(high):
        low, high = high, 2 * high
    while high - low > max(1, FINENESS * low):
        middle = (low + high) // 2
        low, high = (middle, high) if trains(middle) else (low, middle)
    return low


def table(results: dict[str, Result]) -> str:
    """The rows in Markdown; a ratio is one of seconds an image, above 1 where the first is faster."""
    lines = ["| | batch | ms a step | images/s | peak GiB | first step, s | this/first |", "| --- " * 7 + "|"]
    seconds: dict[str, float] = {}  # Of an image, by network the first.
    for name, found in results.items():
        if name == PROFILE:
            continue
        median, batch_size = statistics.median(found["step_s"]), found["batch_size"]
        network = name.split(",")[0]
        first = seconds.setdefault(network, median / batch_size)
        numbers = [
            str(batch_size),
            f"{1000 * median:.1f}",
            f"{batch_size / median:,.0f}",
            f"{found['device_peak_mb'] / 2**10:.1f}",
            f"{statistics.median(found['first_step_s']):.1f}",
            f"{median / batch_size / first:.2f}",
        ]
        lines.append(f"| {' | '.join([name, *numbers])} |")
    return "\n".join(lines)


def measure(wanted: dict[str, Row], file: ResultsFile[Settings]) -> list[str]:
    """Measures the rows that the file does not have yet, and returns the names of those that failed."""
    failed = []
    for name, row in wanted.items():
        if name in file.results:
            continue
        print(name, flush=True)
        try:
            file.add(name, row())
        except (subprocess.CalledProcessError, OSError, SystemExit) as error:
            print(f"{name} failed: {error}", flush=True)
            failed.append(name)
    return failed


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", help="default: all; --list names them")
    parser.add_argument("--list", action="store_true", help="name the rows and measure nothing")
    parser.add_argument("--device", default="gpu", choices=["cpu", "gpu"], help="cpu: to try the program")
    parser.add_argument("--precision", default="mixed_bfloat16", choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each row")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn, after the warm-up")
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--published", default="", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("runs/gpu_table.json"))
    return parser


def main() -> None:
    """Measures the rows that are asked for and prints all that there are."""
    arguments = parser().parse_args()
    programs = Programs(arguments.torch_python, arguments.published, arguments.published_python)
    choose_device("cpu" if arguments.list else arguments.device)
    settings = Settings(machine(), arguments.precision, arguments.rounds, arguments.steps)
    every = rows(settings, programs, len(tf.config.list_physical_devices("GPU")))
    unknown = sorted(set(arguments.row or ()) - set(every))
    if unknown:
        raise SystemExit(f"There is no row {unknown[0]!r}; there are: {'; '.join(every)}.")
    if arguments.list:
        print("\n".join(every))
        return
    file = ResultsFile.open(arguments.results, settings)
    failed = measure({name: row for name, row in every.items() if name in (arguments.row or every)}, file)
    in_order = {name: file.results[name] for name in every if name in file.results}
    print(f"\n{settings.machine}, {settings.precision}\n\n{table(in_order)}\n")
    if PROFILE in in_order:
        print(profile_step.table("ResNet-50, auto", in_order[PROFILE]))
    if failed:
        raise SystemExit(f"Not measured: {'; '.join(failed)}.")


if __name__ == "__main__":
    main()
