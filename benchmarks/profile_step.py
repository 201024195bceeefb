"""Where the time of a whole pretraining step goes, by type of operation and, on a GPU, by kernel.

    python benchmarks/profile_step.py [--device=auto|cpu|gpu] [--point=r18_32px_b64 ...] [--batch=64]
        [--precision=float32] [--compile=auto] [--steps=3] [--memory_size=0] [--json=FILE]

The points and the step are those of `train_step.py`, under TensorFlow's profiler. The times of operations
are those of their kernels on the CPU, each on the thread that started it: where several run side by side
they add up to more than the step took. Under the table is the share of the optimizer's operations, found by
the scope of their names, and with `--memory_size` that of the momentum encoder's moving average. On a GPU,
two tables of the first GPU's kernels come instead: by kind, as far as a name tells it, and the slowest by
name. XLA's fusions have names of their own, in which the scopes are lost.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.kernel_times import KernelCall, kernel_calls
from benchmarks.measuring.machine import machine
from benchmarks.measuring.op_times import OpCall, profile
from benchmarks.train_step import (
    CPU_POINTS,
    DEVICES,
    GPU_POINTS,
    POINTS,
    PRECISIONS,
    WARM_UP_STEPS,
    MeasuredStep,
    choose_device,
    pretraining_step,
)
from tf_simclrv2 import ExperimentConfig, ObjectiveConfig, TrainingConfig
from tf_simclrv2.setting import settings_of

ROWS = 15
GRADIENTS_OF_CONVOLUTIONS = {
    "BackpropInput": "convolution, input gradient",
    "BackpropFilter": "convolution, filter gradient",
}
# Scopes of names that are a part of the step of their own.
PARTS = {"optimizer": "lars", "moving average": "momentum_average"}


def kind(call: OpCall) -> str:
    """The row of a call: its type, where it is no convolution."""
    if "Conv2D" not in call.type:
        return call.type
    for ending, name in GRADIENTS_OF_CONVOLUTIONS.items():
        if ending in call.type:
            return name
    return "convolution, forward"


def times_by_kind(calls: Iterable[OpCall], steps: int) -> list[dict[str, Any]]:
    """Milliseconds and calls a step of each kind of operation, and its share; the slowest come first."""
    return times_by_name(((kind(call), call.seconds) for call in calls), steps)


def times_by_name(calls: Iterable[tuple[str, float]], steps: int) -> list[dict[str, Any]]:
    """As `times_by_kind`, of names and seconds."""
    seconds: dict[str, float] = collections.defaultdict(float)
    counts: dict[str, int] = collections.defaultdict(int)
    for name, of_call in calls:
        seconds[name] += of_call
        counts[name] += 1
    total = sum(seconds.values())
    return [
        {
            "op": name,
            "share": seconds[name] / total,
            "ms": 1000 * seconds[name] / steps,
            "calls": counts[name] / steps,
        }
        for name in sorted(seconds, key=lambda name: -seconds[name])
    ]


def times_of_kernels(calls: Iterable[KernelCall], steps: int) -> dict[str, list[dict[str, Any]]]:
    """As `times_by_kind`, of a GPU's kernels: by kind and by name; nothing without a GPU."""
    calls = list(calls)
    if not calls:
        return {}
    return {
        "kernel_kinds": times_by_name(((call.kind, call.seconds) for call in calls), steps),
        "kernels": times_by_name(((call.name, call.seconds) for call in calls), steps),
    }


def times_by_part(calls: Iterable[OpCall], steps: int) -> list[dict[str, Any]]:
    """As `times_by_kind`, of the parts that have a scope; those that did not run are left out."""
    calls = list(calls)
    total = sum(call.seconds for call in calls)
    rows = []
    for name, scope in PARTS.items():
        inside = [call.seconds for call in calls if scope in call.name.split("/")]
        if inside:
            ms, count = 1000 * sum(inside) / steps, len(inside) / steps
            rows.append({"op": name, "share": sum(inside) / total, "ms": ms, "calls": count})
    return rows


def measure(config: ExperimentConfig, steps: int) -> dict[str, Any]:
    """Times of a step in this process, with the profiler and without."""
    step = pretraining_step(config)
    for _ in range(1 + WARM_UP_STEPS):
        step()
    plain = [step() for _ in range(steps)]
    watched: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        calls = profile(lambda: watched.extend(step() for _ in range(steps)), pathlib.Path(folder))
        kernels = kernel_calls(pathlib.Path(folder))
    return {
        "step_s": plain,
        "profiled_step_s": watched,
        "kinds": times_by_kind(calls, steps),
        "parts": times_by_part(calls, steps),
        **times_of_kernels(kernels, steps),
    }


def rest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Many rows as one."""
    sums = {column: sum(row[column] for row in rows) for column in ("share", "ms", "calls")}
    return {"op": f"the other {len(rows)}", **sums}


def table(point: str, found: dict[str, Any]) -> str:
    """The kinds that take most of the time, the rest, and the parts; of kernels on a GPU."""
    if "kernels" in found:
        tables = [lines_of(point, found["kernel_kinds"]), lines_of(f"{point}: slowest", found["kernels"])]
    else:
        parts = [row | {"op": f"of it {row['op']}"} for row in found["parts"]]
        tables = [lines_of(point, found["kinds"], parts)]
    plain, watched = (statistics.median(found[name]) for name in ("step_s", "profiled_step_s"))
    return "\n\n".join([*tables, f"A step took {plain:.3f} s, with the profiler {watched:.3f} s.\n"])


def lines_of(title: str, kinds: list[dict[str, Any]], parts: Sequence[dict[str, Any]] = ()) -> str:
    """A table of the slowest rows, the sum of the others, and the parts."""
    rows = [*kinds[:ROWS], *([rest(kinds[ROWS:])] if kinds[ROWS:] else []), rest(kinds) | {"op": "all"}]
    lines = [f"| {title} | share | ms a step | calls a step |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['op']} | {row['share']:.1%} | {row['ms']:.1f} | {row['calls']:.0f} |"
        for row in [*rows, *parts]
    ]
    return "\n".join(lines)


def command(measured: MeasuredStep, steps: int, memory_size: int = 0) -> list[str]:
    """What profiles a step in a process of its own and prints it in JSON."""
    options = [f"--steps={steps}", f"--memory_size={memory_size}"]
    return [sys.executable, __file__, *options, f"--here={measured.to_json()}"]


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto: GPUs if there are any")
    parser.add_argument(
        "--point", choices=sorted(POINTS), action="append", help="default: the two main points of the device"
    )
    parser.add_argument("--batch", type=int, default=0, help="images of a step; default: those of the point")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--compile", default="auto", choices=settings_of(TrainingConfig)["compile"].choices)
    parser.add_argument("--steps", type=int, default=3, help="with the profiler, and as many without")
    parser.add_argument("--memory_size", type=int, default=0, help="past keys; 0 has no momentum encoder")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", type=MeasuredStep.from_json, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measures the points that are asked for, each in a process of its own, and prints them."""
    arguments = parser().parse_args()
    if arguments.here:
        objective = ObjectiveConfig(memory_size=arguments.memory_size)
        print(json.dumps(measure(arguments.here.config(objective), arguments.steps)))
        return
    on_gpu = choose_device(arguments.device)
    print(f"{machine()}, {arguments.precision}\n")
    results = {}
    for point in arguments.point or (GPU_POINTS if on_gpu else CPU_POINTS):
        model, batch_size = POINTS[point]
        batch_size = arguments.batch or batch_size
        measured = MeasuredStep(model, batch_size, arguments.precision, arguments.compile)
        results[point] = numbers_of(command(measured, arguments.steps, arguments.memory_size))
        print(table(point, results[point]), flush=True)
    if arguments.json:
        numbers = {"machine": machine(), "precision": arguments.precision, "points": results}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
