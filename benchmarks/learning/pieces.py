"""The pieces of a comparison, each a contender with a seed, and what has been measured of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.learning.judge import judge
from benchmarks.learning.recording import TIMES
from benchmarks.learning.settings import Settings
from benchmarks.measuring.results_file import ResultsFile
from tf_simclrv2.directory_lock import LOCK_FILE, directory_lock

PROGRAMS = pathlib.Path(__file__).parent
# What a contender's interpreter must import.
NEEDS = {
    "ours": ["tf_simclrv2"],
    "ours_on_lightly": ["tf_simclrv2"],
    "published": ["tensorflow", "tf_keras"],
    "lightly": ["lightly", "torch", "torchvision"],
    "lightly_zero": ["lightly", "torch", "torchvision"],
    "lightly_zero_no_bias": ["lightly", "torch", "torchvision"],
}


@dataclasses.dataclass(frozen=True)
class Program:
    """A contender's program.

    Attributes:
        name: The contender.
        python: The interpreter that runs it.
        file: The program.
        arguments: Those after the common ones.
    """

    name: str
    python: str
    file: str
    arguments: tuple[str, ...] = ()

    def why_missing(self) -> str | None:
        """A sentence if it cannot run here."""
        names = NEEDS[self.name]
        code = f"import importlib.util; print([n for n in {names} if not importlib.util.find_spec(n)])"
        try:
            done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{self.name} is left out: {self.python} does not run ({error})."
        missing = done.stdout.strip()
        return f"{self.name} is left out: {self.python} lacks {missing}." if missing != "[]" else None

    def versions(self) -> str:
        """What it was measured with."""
        ours = ["tensorflow", "keras"]
        packages = {"ours": ours, "ours_on_lightly": ours, "published": ["tensorflow", "tf_keras"]}
        names = packages.get(self.name, NEEDS[self.name])
        code = (
            f"from importlib.metadata import version as v; print(', '.join(n + ' ' + v(n) for n in {names}))"
        )
        return subprocess.run(
            [self.python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def command(self, folder: pathlib.Path, seed: int, output: pathlib.Path) -> list[str]:
        """What measures a piece."""
        return [self.python, str(PROGRAMS / self.file), str(folder), str(seed), str(output), *self.arguments]


def programs(published: str | None, published_python: str, torch_python: str) -> list[Program]:
    """Ours and the peers, as far as they are named."""
    found = [Program("ours", sys.executable, "ours.py")]
    if published is not None:
        found.append(Program("published", published_python, "published_contender.py", (published,)))
    file = "lightly_contender.py"
    zero = Program("lightly_zero", torch_python, file, ("--zero_init_residual",))
    no_bias = Program("lightly_zero_no_bias", torch_python, file, (*zero.arguments, "--no_last_bias"))
    peers = [zero, Program("lightly", torch_python, file), no_bias]
    if zero.why_missing() is None:
        peers.append(Program("ours_on_lightly", sys.executable, "ours.py", (f"--views_of={torch_python}",)))
    return [*found, *peers]


Measured = ResultsFile[Settings]
Rows = list[dict[str, float]]


def key(name: str, seed: int) -> str:
    """The name of a contender's piece."""
    return f"{name}/{seed}"


def runs_of(measured: Measured, name: str) -> list[Rows]:
    """What was measured of a contender: for each seed a row for each measured epoch."""
    keys = (key(name, seed) for seed in measured.settings.seeds)
    return [measured.results[each]["rows"] for each in keys if each in measured.results]


def waiting(
    contenders: Sequence[Program], measured: Measured, seeds: Sequence[int]
) -> list[tuple[Program, int]]:
    """The pieces that are not there, seed by seed, so that the contenders of a seed run side by side."""
    pieces = ((one, seed) for seed in seeds for one in contenders)
    return [(one, seed) for one, seed in pieces if key(one.name, seed) not in measured.results]


def measure_piece(program: Program, seed: int, folder: pathlib.Path, settings: Settings) -> Rows:
    """Trains a piece in a process of its own and judges its features, which are deleted then.

    Args:
        program: The contender.
        seed: Of the repetition.
        folder: Holds `settings.json` and `images.npz`; the piece gets an empty folder in it, even if stopped.
        settings: What is in `settings.json`.

    Returns:
        For each measurement its `epoch`, which may be a part of one, `seconds`, `linear` and `neighbors`.
    """
    output = folder / f"{program.name}_{seed}"
    output.mkdir(exist_ok=True)
    with directory_lock(str(output), "piece", "wait until that has ended, or choose another --output"):
        for old in output.iterdir():
            if old.name != LOCK_FILE:
                old.unlink()
        rows = _trained_and_judged(program, seed, folder, output, settings)
    shutil.rmtree(output)
    return rows


def _trained_and_judged(
    program: Program, seed: int, folder: pathlib.Path, output: pathlib.Path, settings: Settings
) -> Rows:
    with (output / "log.txt").open("w") as log:
        command = program.command(folder, seed, output)
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
    seconds = json.loads((output / TIMES).read_text())
    with np.load(folder / "images.npz") as file:
        train, test = file["train_labels"][: settings.probe_images], file["test_labels"]
    rows = []
    for epochs, spent in seconds.items():
        with np.load(output / f"features_{epochs}.npz") as features:
            rows.append({"epoch": float(epochs), "seconds": spent, **judge(dict(features), train, test)})
    return rows
