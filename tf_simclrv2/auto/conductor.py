"""Runs commands within their time, and notes what is done, so that a job can continue later."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tf_simclrv2.auto.budget import Clock, duration
from tf_simclrv2.auto.commands import PRETRAINED, Stage
from tf_simclrv2.directory_lock import LOCK_FILE
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.files import read_json, write_json
from tf_simclrv2.interruption import heard_at_once
from tf_simclrv2.progress import Say
from tf_simclrv2.weights.checkpoint_reader import newest_checkpoint

RECORD = "auto.json"
FLAGS = "flags"
# Seconds that a stage has to save, after its time is up, before it is ended as it stands.
_PATIENCE = 120.0
# What stops a job: a stage gets the chance to save, and is not left running.
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds between two looks at a stage, and between two notes of the time that was used.
_LOOK, _NOTE = 0.2, 15.0


def _refuse_unwritable(output: str) -> None:
    """Checks that a folder can be made, before hours of work; leaves nothing."""
    parent = os.path.abspath(output)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    try:
        tempfile.TemporaryDirectory(dir=parent).cleanup()
    except OSError as error:
        raise ConfigError(
            f"output is {output!r}, which cannot be written ({error}); choose another."
        ) from error


@dataclasses.dataclass
class Record:
    """What a job knows of itself, in OUTPUT/auto.json.

    Attributes:
        path: The file.
        asked: What identifies the job: where its pictures and labels are, and further flags.
        used_s: Seconds that were used.
        stages: By name, how each stage that has ended did so: `seconds`, `whole` (not cut short), `command`.
        facts: What else was found out, such as the settings.
    """

    path: str
    asked: dict[str, Any]
    used_s: float = 0.0
    stages: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, output: str, asked: dict[str, Any], say: Say) -> Record:
        """Reads the record of a job that continues, or begins one.

        Further flags may be others: each stage that continues refuses those that it may not have.

        Raises:
            ConfigError: The folder holds another job, or something else.
        """
        path = os.path.join(output, RECORD)
        if not os.path.exists(path):
            if os.path.isdir(output) and {*os.listdir(output)} - {LOCK_FILE}:
                raise ConfigError(f"output is {output!r}, which holds other files; choose a new folder.")
            _refuse_unwritable(output)
            return cls(path, asked)
        try:
            found = cls(path, **read_json(path))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path!r} cannot be read ({error}); choose another --output.") from error
        differing = [name for name in asked if found.asked.get(name) != asked[name]]
        if differing and not (found.stages or os.path.exists(os.path.join(output, PRETRAINED))):
            return cls(path, asked)  # It was only planned, by --dry_run.
        if differing == [FLAGS]:
            before = found.asked.get(FLAGS)
            say(f"{FLAGS} were {before!r}, are {asked[FLAGS]!r}: for the stages that have not ended")
            found.asked = asked
            return found
        if differing:
            name = differing[0]
            raise ConfigError(
                f"{name} is {asked[name]!r}, but the job in {output!r} began with {found.asked.get(name)!r}; "
                "repeat that value to continue, or choose another --output."
            )
        return found

    def write(self) -> None:
        """Notes all of it."""
        values = {name: value for name, value in vars(self).items() if name != "path"}
        write_json(self.path, values)


class Conductor:
    """Runs the stages of a job.

    Args:
        record: Of the job.
        clock: Its time.
        say: Prints a line.
    """

    def __init__(self, record: Record, clock: Clock, say: Say) -> None:
        self._record = record
        self._clock = clock
        self._say = say

    def done(self, name: str) -> bool:
        """Returns whether a stage has ended and can be built on: if it was cut short, it has a checkpoint."""
        stage = self._record.stages.get(name)
        return stage is not None and (stage["whole"] or self.saved(name))

    def saved(self, name: str) -> bool:
        """Returns whether a stage has saved a checkpoint, ended or not."""
        return newest_checkpoint(os.path.join(os.path.dirname(self._record.path), name)) is not None

    def whole(self, name: str) -> bool:
        """Returns whether a stage has ended and was not cut short."""
        return self.done(name) and self._record.stages[name]["whole"]

    def run(self, stage: Stage, spare_s: float | None = None, start_s: float = 0.0) -> None:
        """Runs a stage, unless it has ended already. Without a checkpoint it does not count as ended.

        Args:
            stage: The command.
            spare_s: Seconds of the budget that later stages need. When only they are left, the stage is
                stopped in good order: a training saves what it has. None (the default) lets it end, whatever
                it takes.
            start_s: Seconds before it can save anything; with less time it is not started.

        Raises:
            RunError: The command failed.
            KeyboardInterrupt: Ctrl-C stopped it.
            SystemExit: Another signal did.
        """
        if self.done(stage.name):
            return
        start, whole = time.monotonic(), False
        limit = math.inf if spare_s is None else max(self._clock.left_s - spare_s, 0.0)
        # A stage that is stopped and continues has taken the time of both.
        spent: dict[str, float] = self._record.facts.setdefault("spent_s", {})
        try:
            if limit > start_s:
                self._say(f"\n{stage.text}")
                whole = self._finish(stage, start + limit)
        finally:
            seconds = time.monotonic() - start
            spent[stage.name] = spent.get(stage.name, 0.0) + seconds
            self.note()
        saved = whole or self.saved(stage.name)
        if saved:
            values = {"seconds": spent[stage.name], "whole": whole, "command": stage.text}
            self._record.stages[stage.name] = values
        self.note()
        if not whole:
            did = f"was stopped after {duration(seconds)}" if limit > start_s else "was not run"
            nothing = "" if saved else ", and nothing of it is saved"
            self._say(f"{stage.name} {did} to leave time for the next stages{nothing}")

    def note(self) -> None:
        """Writes the record, with the time that was used."""
        self._record.used_s = self._clock.used_s
        self._record.write()

    def _finish(self, stage: Stage, end: float) -> bool:
        """Waits until the stage has ended, or ends it; returns whether it ended by itself."""
        # In a group of its own, so that Ctrl-C reaches it once, through this program.
        process = subprocess.Popen([sys.executable, "-m", "tf_simclrv2", *stage.words], process_group=0)
        asked, noted = False, time.monotonic()
        with _passed_on(process) as stops:
            while process.poll() is None:
                now = time.monotonic()
                end = min(end, now) if stops else end
                if now > end + _PATIENCE:
                    process.kill()
                elif now > end and not asked and not stops:
                    asked = True
                    process.send_signal(signal.SIGTERM)
                elif now > noted + _NOTE:
                    noted = now
                    self.note()
                time.sleep(_LOOK)
        if stops:
            self._stop(stops[0])
        if process.returncode and not asked:
            raise RunError(
                f"{stage.name} failed with exit code {process.returncode}; see its lines above, and type the "
                "same command to continue."
            )
        return process.returncode == 0

    def _stop(self, number: int) -> None:
        """Ends the job as a signal asks for; what it has taken is noted by then."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        self._say("stopped; type the same command to continue")
        raise SystemExit(128 + number)


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Passes on to a stage what stops this program, which saves what the stage has; lists the signals."""
    heard: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        process.send_signal(signal.SIGTERM)

    with heard_at_once(_STOPS, stop, lambda _: None):
        try:
            yield heard
        finally:
            if process.poll() is None:  # Something failed here, such as writing to a full disk.
                process.terminate()
                process.wait(_PATIENCE)
