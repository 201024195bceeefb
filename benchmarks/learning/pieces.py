"""The pieces of a comparison, each a contender with a seed, and what has been measured of them."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.learning.judge import judge
from benchmarks.learning.recording import TIMES
from benchmarks.learning.settings import Settings

PROGRAMS = pathlib.Path(__file__).parent
# What a contender's interpreter must import.
NEEDS = {
    "ours": ["tf_simclrv2"],
    "published": ["tensorflow", "tf_keras"],
    "lightly": ["lightly", "torch", "torchvision"],
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

    def command(self, folder: pathlib.Path, seed: int, output: pathlib.Path) -> list[str]:
        """What measures a piece."""
        return [self.python, str(PROGRAMS / self.file), str(folder), str(seed), str(output), *self.arguments]


def programs(published: str | None, published_python: str, torch_python: str) -> list[Program]:
    """Ours and the peers, as far as they are named."""
    found = [Program("ours", sys.executable, "ours.py")]
    if published is not None:
        found.append(Program("published", published_python, "published_contender.py", (published,)))
    return [*found, Program("lightly", torch_python, "lightly_contender.py")]


@dataclasses.dataclass
class Measured:
    """What has been measured, in one file.

    Attributes:
        path: The file.
        settings: Of all of it.
        machine: Where: processor and versions.
        pieces: By contender and seed, for each measured epoch its `epoch`, `seconds`, `linear`, `neighbors`.
    """

    path: pathlib.Path
    settings: Settings
    machine: str
    pieces: dict[str, dict[str, list[dict[str, float]]]] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, path: pathlib.Path, settings: Settings, machine: str) -> Measured:
        """Reads the file, if it is there.

        Raises:
            SystemExit: It was measured with other settings.
        """
        if not path.exists():
            return cls(path, settings, machine)
        found = cls.read(path)
        if found.settings != settings:
            names = [field.name for field in dataclasses.fields(Settings)]
            differ = [name for name in names if getattr(found.settings, name) != getattr(settings, name)]
            raise SystemExit(
                f"{path} was measured with other settings ({', '.join(differ)}); give another --results."
            )
        return found

    @classmethod
    def read(cls, path: pathlib.Path) -> Measured:
        """Reads a file that is there."""
        plain = json.loads(path.read_text())
        return cls(path, Settings.from_plain(plain["settings"]), plain["machine"], plain["pieces"])

    def has(self, name: str, seed: int) -> bool:
        """Whether a piece is there."""
        return str(seed) in self.pieces.get(name, {})

    def add(self, name: str, seed: int, rows: list[dict[str, float]]) -> None:
        """Notes a piece."""
        self.pieces.setdefault(name, {})[str(seed)] = rows
        plain = {
            "settings": dataclasses.asdict(self.settings),
            "machine": self.machine,
            "pieces": {key: dict(sorted(self.pieces[key].items())) for key in sorted(self.pieces)},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(plain, indent=1) + "\n")


def measure_piece(
    program: Program, seed: int, folder: pathlib.Path, core: int | None = None
) -> list[dict[str, float]]:
    """Trains a piece in a process of its own and judges its features, which are deleted then.

    Args:
        program: The contender.
        seed: Of the repetition.
        folder: Holds `settings.json` and `images.npz`; the piece gets a folder in it, anew if it was stopped.
        core: The only one that it may use; None for all.
    """
    output = folder / f"{program.name}_{seed}"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    with (output / "log.txt").open("w") as log:
        subprocess.run(
            program.command(folder, seed, output),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    seconds = json.loads((output / TIMES).read_text())
    rows = [judged(folder, output, int(epoch), spent) for epoch, spent in seconds.items()]
    shutil.rmtree(output)
    return rows


def judged(folder: pathlib.Path, output: pathlib.Path, epoch: int, seconds: float) -> dict[str, float]:
    """The accuracies after an epoch."""
    settings = Settings.from_plain(json.loads((folder / "settings.json").read_text()))
    with np.load(folder / "images.npz") as file, np.load(output / f"features_{epoch}.npz") as features:
        train, test = file["train_labels"][: settings.probe_images], file["test_labels"]
        found = judge(dict(features), train, test)
    return {"epoch": epoch, "seconds": seconds, **found}


def waiting(
    contenders: Sequence[Program], measured: Measured, seeds: Sequence[int]
) -> list[tuple[Program, int]]:
    """The pieces that are not there, seed by seed, so that the contenders of a seed run side by side."""
    return [(one, seed) for seed in seeds for one in contenders if not measured.has(one.name, seed)]
