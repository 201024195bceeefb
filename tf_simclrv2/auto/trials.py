"""Finds the network that a budget allows, by trying a few."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tf_simclrv2.auto import choices
from tf_simclrv2.auto.choices import Candidate
from tf_simclrv2.auto.commands import Choices, Commands
from tf_simclrv2.auto.schedule import Measured
from tf_simclrv2.errors import RunError
from tf_simclrv2.progress import Say

STEPS = 12
_MOST_TRIALS = 3
# A network that was tried is taken with somewhat fewer epochs than it should have.
_NEARLY = 0.7


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a trial of a network has found.

    Attributes:
        measured: Its times.
        accelerated: Whether a GPU or TPU computes.
        compute_capability: Of the GPU; None if there is none.
        bfloat16_gain: Speed of convolutions in bfloat16 relative to float32.
    """

    measured: Measured
    accelerated: bool
    compute_capability: tuple[int, ...] | None
    bfloat16_gain: float


RunTrial = Callable[[Choices], Trial]


def choose_network(
    run_trial: RunTrial,
    images: int,
    median_side: float,
    pretraining_s: Callable[[Measured], float],
    patience_s: float,
    say: Say,
) -> tuple[Choices, Measured]:
    """Climbs from the cheapest network to the costliest that still sees the pictures often enough.

    Args:
        run_trial: Measures a network.
        images: Pictures in an epoch.
        median_side: Of the pictures, in pixels.
        pretraining_s: Returns the seconds that are left for pretraining, by what was measured.
        patience_s: Seconds after which no further network is tried.
        say: Is told of a network that cannot be tried; then it is one of the cheaper ones.

    Returns:
        The settings, and what was measured with them.
    """
    start, ladder, wanted = time.monotonic(), choices.candidates(median_side), choices.wanted_epochs(images)
    found: dict[int, tuple[Choices, Trial]] = {}
    usable = list(range(len(ladder)))
    index, batch, precision = 0, choices.batch_size(images, False), "float32"
    while True:
        candidate = ladder[index]
        asked = Choices(candidate.image_size, candidate.depth, batch, precision, 1)
        try:
            trial = run_trial(asked)
        except RunError as error:
            if not found:
                raise
            say(f"{str(error).rstrip('.')}; a cheaper network is taken")
            usable = [at for at in usable if at < index or at in found]
        else:
            found[index] = asked, trial
            batch, precision = _suited(trial, images)
        epochs = [_epochs(at, candidate, found, ladder, pretraining_s) for at, candidate in enumerate(ladder)]
        index = max((at for at in usable if epochs[at] >= wanted), default=0)
        if index in found or len(found) == _MOST_TRIALS or time.monotonic() - start > patience_s:
            break
    index = max((at for at in found if epochs[at] >= _NEARLY * wanted), default=min(found))
    asked, trial = found[index]
    suited = dataclasses.replace(asked, batch_size=batch, precision=precision)
    if suited != asked:  # It was tried before the device was known.
        try:
            asked, trial = found[index] = suited, run_trial(suited)
        except RunError as error:
            say(f"{str(error).rstrip('.')}; batches of {asked.batch_size} in {asked.precision} are taken")
    final = _epochs(index, ladder[index], found, ladder, pretraining_s)
    return dataclasses.replace(asked, epochs=final), trial.measured


def _suited(trial: Trial, images: int) -> tuple[int, str]:
    """The batch size and the precision for a device."""
    precision = choices.precision(trial.accelerated, trial.compute_capability, trial.bfloat16_gain)
    return choices.batch_size(images, trial.accelerated), precision


def _epochs(
    index: int,
    candidate: Candidate,
    found: dict[int, tuple[Choices, Trial]],
    ladder: list[Candidate],
    pretraining_s: Callable[[Measured], float],
) -> int:
    """Returns the epochs that a network can have, predicted by the nearest one that was tried."""
    nearest = min(found, key=lambda tried: abs(tried - index))
    asked, trial = found[nearest]
    factor = candidate.cost / ladder[nearest].cost
    measured = dataclasses.replace(trial.measured, image_s=trial.measured.image_s * factor)
    step_s = measured.image_s * asked.batch_size
    return choices.affordable_epochs(measured.images, asked.batch_size, step_s, pretraining_s(measured))


def run_trial(folder: str, images: int, flags: tuple[str, ...], asked: Choices) -> Trial:
    """Measures some steps of pretraining in a process of its own: `simclrv2 run --doctor`.

    Args:
        folder: Holds `data/all`.
        images: Pictures in an epoch.
        flags: Further flags of the job.
        asked: The settings.

    Raises:
        RunError: The command failed.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "doctor.json")
        words = Commands(folder, asked, flags).trial(path, STEPS).words
        done = subprocess.run(
            [sys.executable, "-m", "tf_simclrv2", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RunError(f"a trial of ResNet-{asked.depth} failed: {_reason(done)}")
        with open(path) as file:
            found = json.load(file)
    return _read(found, images, time.monotonic() - start)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"signal {-done.returncode} ended it, perhaps for lack of memory."
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else "no message."


def _read(found: dict[str, Any], images: int, seconds: float) -> Trial:
    machine, trial = found["machine"], found["trial"]
    if trial is None:
        raise RunError(f"no step could be tried ({found['no_trial']}); use a machine with more memory.")
    start_s = max(seconds - STEPS * trial["step_s"], 0.0)
    return Trial(
        measured=Measured(images, start_s, 1 / trial["examples_per_second"]),
        accelerated=bool(machine["devices"]),
        compute_capability=machine["compute_capability"],
        bfloat16_gain=machine["conv_gflops"]["bfloat16"] / machine["conv_gflops"]["float32"],
    )
