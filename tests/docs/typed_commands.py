"""The commands of a page, and a shell that they are typed into."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def commands_of(page: str) -> list[str]:
    """The indented lines of a page of docs/, in order; continued ones are joined."""
    text = (ROOT / "docs" / page).read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)$", re.sub(r"\\\n\s*", "", prose), re.MULTILINE)


def make_program(path: pathlib.Path, *words: str) -> None:
    """Writes a program that is the interpreter of the tests, with these words before a user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *words])} "$@"\n')
    path.chmod(0o755)


class Shell:
    """Types commands as a reader does.

    Args:
        folder: Where they are typed.
        checkout: The checkout whose package is used.
        programs: A folder of programs that are found by their names; None has the system's alone.
    """

    def __init__(
        self, folder: pathlib.Path, checkout: pathlib.Path, programs: pathlib.Path | None = None
    ) -> None:
        self._folder = folder
        self._environment = {
            "PATH": ":".join([*([str(programs)] if programs else []), "/usr/bin", "/bin"]),
            "HOME": str(folder),
            "PYTHONPATH": str(checkout),
            "CUDA_VISIBLE_DEVICES": "",
        }

    def type(self, command: str, patience: float) -> str:
        """Returns what a command prints; a command that fails fails the test.

        Args:
            command: What is typed.
            patience: Seconds until it must have ended.
        """
        done = subprocess.run(
            command,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def leave_running(self, command: str, log: pathlib.Path) -> subprocess.Popen:
        """Starts a command that continues; its words go to a file."""
        with log.open("w") as file:
            return subprocess.Popen(
                shlex.split(command),
                cwd=self._folder,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
