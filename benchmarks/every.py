"""Runs every benchmark, one after the other; for a quiet machine.

    python benchmarks/every.py [--output=runs/bench] [--only=NAME ...] [--rounds=N]
        [--peer=lightly|torch|none] [--torch_python=PATH] [--published=FOLDER] [--published_python=PATH]

Each program's words go to the screen and, one after the other, to OUTPUT/tables.md; its numbers to
OUTPUT/NAME.json. A program that fails stops the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("--peer", "--torch_python")
ROUNDS = ("--rounds",)
PUBLISHED = ("--published", "--published_python")
BFLOAT16 = "--precision=mixed_bfloat16"
STEPS = tuple(f"--point={point}" for point in ("r18_32px_b64", "r50_224px_b8", "r50_sk_224px_b8"))
SMALL_CASES = tuple(
    f"--case={case}"
    for case in ("r18_32px_b64", "r50_224px_b8", "r50_224px_b32", "r50_224px_b32_rematerialized")
)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A program with its options.

    Attributes:
        name: Of the section and of the file of numbers.
        program: In this folder, without its ending.
        options: For it alone.
        shared: Which of the options of `every.py` it takes.
    """

    name: str
    program: str
    options: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("train_step", "train_step", STEPS, PEERS + PUBLISHED + ROUNDS),
    Benchmark("train_step_bfloat16", "train_step", (*STEPS, BFLOAT16), PEERS + PUBLISHED + ROUNDS),
    Benchmark("evaluation_step", "evaluation_step", shared=PUBLISHED + ROUNDS),
    Benchmark("profile_step", "profile_step"),
    Benchmark("profile_step_bfloat16", "profile_step", (BFLOAT16,)),
    Benchmark("optimizer_share", "optimizer_share", (BFLOAT16,), ROUNDS),
    Benchmark("input_pipeline", "input_pipeline", shared=PEERS + PUBLISHED + ROUNDS),
    Benchmark("blur", "blur"),
    Benchmark("startup", "startup", shared=PEERS + PUBLISHED + ROUNDS),
    Benchmark("loss_scaling", "loss_scaling", shared=ROUNDS),
    Benchmark("memory", "memory", shared=PEERS),
    Benchmark("memory_bfloat16", "memory", (*SMALL_CASES, BFLOAT16), PEERS),
    Benchmark("replicas", "replicas", shared=ROUNDS),
    Benchmark("graph_size", "graph_size"),
    Benchmark("linear_probe", "linear_probe"),
    Benchmark("serving", "serving", ("--repeats=3",), ("--torch_python",)),
    Benchmark("serving_load", "serving_load", ("--soak=10000",), ROUNDS),
)


def command(benchmark: Benchmark, output: pathlib.Path, shared: dict[str, str | None]) -> list[str]:
    """What runs a benchmark.

    Args:
        benchmark: Which.
        output: Folder for its numbers.
        shared: Options of `every.py` by name; those that are None are left out.
    """
    given = [f"{name}={shared[name]}" for name in benchmark.shared if shared[name] is not None]
    program = str(HERE / f"{benchmark.program}.py")
    return [sys.executable, program, *benchmark.options, *given, f"--json={output / benchmark.name}.json"]


def run(benchmark: Benchmark, output: pathlib.Path, shared: dict[str, str | None]) -> str:
    """Runs a benchmark, shows what it says, and returns that.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    arguments = command(benchmark, output, shared)
    said = []
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return "".join(said)


def section(name: str, said: str) -> str:
    """A part of tables.md. What is no Markdown table keeps its columns."""
    body = said if "| --- |" in said else f"```\n{said}```\n"
    return f"## {name}\n\n{body}\n"


def main() -> None:
    """Runs those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/bench"))
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", choices=names, action="append", help="default: all")
    parser.add_argument("--rounds", help="turns of each contender, instead of each program's own number")
    parser.add_argument("--peer", default="none", choices=["lightly", "torch", "none"])
    parser.add_argument("--torch_python", help="an interpreter that has the peer")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", help="an interpreter that runs it")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    shared = {name: getattr(arguments, name.removeprefix("--")) for name in PEERS + PUBLISHED + ROUNDS}
    tables = arguments.output / "tables.md"
    tables.write_text("")
    for benchmark in BENCHMARKS:
        if not arguments.only or benchmark.name in arguments.only:
            print(f"\n{benchmark.name}", flush=True)
            said = run(benchmark, arguments.output, shared)
            with tables.open("a") as file:
                file.write(section(benchmark.name, said))
    print(f"\n{tables}")


if __name__ == "__main__":
    main()
