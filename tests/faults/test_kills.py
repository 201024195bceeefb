"""Runs that are killed, or told to stop, again and again end bit for bit like one that nobody touched.

SIGKILLS and SIGTERMS in the environment say how often (`make soak` asks for more), KILL_SEED when. LATE_KILLS
are further SIGKILLs behind the last step, while the run evaluates and exports, which it then does.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.programs import SMALL_PROGRAM, SMALL_RUN, newest_step, start, values_of, wait_for_step

SIGKILLS = int(os.environ.get("SIGKILLS", "2"))
SIGTERMS = int(os.environ.get("SIGTERMS", "1"))
LATE_KILLS = int(os.environ.get("LATE_KILLS", "0"))
SEED = int(os.environ.get("KILL_SEED", "0"))
INTERVAL = 3
# Room for one interruption in each stretch of so many steps.
STRETCH = 9
STEPS = STRETCH * (max(SIGKILLS, SIGTERMS) + 1)
EXIT_PREEMPTED = 75
PATIENCE = 120
# From a second or so of evaluation to the end of the export.
LATE_SECONDS = 8.0
FLAGS = [
    *SMALL_RUN,
    "--mode=train_then_eval" if LATE_KILLS else "--mode=train",
    "--eval_split=test",
    "--learning_rate=1.0",
    "--strategy=one_device",
    "--report_images=0",
    f"--train_steps={STEPS}",
    f"--checkpoint_steps={INTERVAL}",
    "--keep_checkpoint_max=2",
    "--keep_best=online",
    "--validation_split=train[100:140]",
]


def start_run(directory: pathlib.Path, log: pathlib.Path) -> subprocess.Popen:
    return start([*SMALL_PROGRAM, "run", f"--model_dir={directory}", *FLAGS], log)


def kill_behind_last_step(directory: pathlib.Path, log: pathlib.Path, after: float) -> int:
    process = start_run(directory, log)
    try:
        wait_for_step(directory, STEPS, [process], [log], PATIENCE)
        time.sleep(after)
        process.kill()
        return process.wait(PATIENCE)
    finally:
        process.kill()


def interrupt_and_finish(
    directory: pathlib.Path, number: signal.Signals, times: int, late_kills: int = 0
) -> tuple[list, str]:
    """A run that gets a signal so often and is then let through: its exit codes and what it said."""
    log, moments, codes = directory.with_suffix(".log"), random.Random(SEED), []
    for _ in range(times):
        process = start_run(directory, log)
        try:
            # A step or more further than before, and then anywhere within a step or a save.
            step = newest_step(directory) + moments.randint(1, STRETCH // 2)
            wait_for_step(directory, step, [process], [log], PATIENCE)
            time.sleep(moments.uniform(0.0, 0.1))
            assert process.poll() is None, "it ended before it was interrupted"
            process.send_signal(number)
            codes.append(process.wait(PATIENCE))
        finally:
            process.kill()
    for _ in range(late_kills):
        codes.append(kill_behind_last_step(directory, log, moments.uniform(0.0, LATE_SECONDS)))
    finish(start_run(directory, log), log)
    return codes, log.read_text()


def finish(process: subprocess.Popen, log: pathlib.Path) -> None:
    try:
        assert process.wait(2 * PATIENCE) == 0, log.read_text()
    finally:
        process.kill()


@dataclasses.dataclass
class Runs:
    """Directories of an undisturbed and two disturbed runs, and what the latter did."""

    whole: pathlib.Path
    killed: pathlib.Path
    stopped: pathlib.Path
    kill_codes: list
    stop_codes: list
    stop_log: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("kills")
    whole, killed, stopped = root / "whole", root / "killed", root / "stopped"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        kills = pool.submit(interrupt_and_finish, killed, signal.SIGKILL, SIGKILLS, LATE_KILLS)
        stops = pool.submit(interrupt_and_finish, stopped, signal.SIGTERM, SIGTERMS)
        finish(start_run(whole, root / "whole.log"), root / "whole.log")
        (kill_codes, _), (stop_codes, stop_log) = kills.result(), stops.result()
    return Runs(whole, killed, stopped, kill_codes, stop_codes, stop_log)


def test_each_interruption_ends_as_documented(runs):
    kills = SIGKILLS + LATE_KILLS
    # A late one may find the run at its end.
    assert runs.kill_codes[:SIGKILLS] == [-signal.SIGKILL] * SIGKILLS and len(runs.kill_codes) == kills
    assert set(runs.kill_codes[SIGKILLS:]) <= {-signal.SIGKILL, 0}
    assert runs.stop_codes == [EXIT_PREEMPTED] * SIGTERMS


def test_sigterm_says_where_it_saved(runs):
    lines = [line for line in runs.stop_log.splitlines() if line.startswith("stopped by SIGTERM at step ")]
    assert len(lines) == SIGTERMS
    for line in lines:
        step = line.removeprefix("stopped by SIGTERM at step ").split(" ")[0]
        assert f"everything is saved in {runs.stopped}/ckpt-{step};" in line
        assert f"resuming from step {step} of {STEPS}" in runs.stop_log


@pytest.mark.parametrize("which", ["killed", "stopped"])
def test_an_interrupted_run_ends_bit_for_bit_like_the_other(runs, which):
    expected, found = values_of(runs.whole, STEPS), values_of(getattr(runs, which), STEPS)
    assert expected.keys() == found.keys() and len(expected) > 100
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("which", ["killed", "stopped"])
def test_an_interrupted_run_keeps_the_same_best(runs, which):
    """With the same measurements, however often some were made."""
    read = [_chosen(directory) for directory in (runs.whole, getattr(runs, which))]
    assert read[0] == read[1]
    best, accuracy = read[0]
    assert list(accuracy) == list(range(INTERVAL, STEPS + 1, INTERVAL))
    assert best["value"] == max(accuracy.values()) == accuracy[best["step"]]
    expected, found = (values_of(d / "best", best["step"]) for d in (runs.whole, getattr(runs, which)))
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def _chosen(directory: pathlib.Path) -> tuple[dict, dict[int, float]]:
    """What the best checkpoint was chosen by, and the accuracy of each that was measured."""
    best = json.loads((directory / "best" / "best.json").read_text())
    made = json.loads((directory / "validation.json").read_text())["measurements"]
    return best, {measurement["step"]: measurement["value"] for measurement in made}


@pytest.mark.skipif(not LATE_KILLS, reason="runs are evaluated only with LATE_KILLS, as in `make soak`")
@pytest.mark.parametrize("which", ["killed", "stopped"])
def test_the_evaluation_is_that_of_the_other(runs, which):
    paths = sorted(path.name for path in runs.whole.glob("*result*.json"))
    assert paths
    for name in paths:
        results = [
            json.loads((directory / name).read_text()) for directory in (runs.whole, getattr(runs, which))
        ]
        # A run that finds its training complete has no training metrics to report.
        assert {k: v for k, v in results[0].items() if k.startswith("eval/")} == {
            k: v for k, v in results[1].items() if k.startswith("eval/")
        }
    assert (getattr(runs, which) / "saved_model").is_dir() and (runs.whole / "saved_model").is_dir()


def test_nothing_of_the_interruptions_is_left(runs):
    def kept(directory: pathlib.Path) -> set[str]:
        return {path.name for path in directory.iterdir() if not path.name.startswith("events")}

    assert kept(runs.stopped) == kept(runs.whole)
    # A kill in the middle of removing an old checkpoint leaves one file of it, or one of a half saved one.
    left = {name for name in kept(runs.killed) - kept(runs.whole) if name.startswith("ckpt-")}
    assert len(left) <= SIGKILLS and kept(runs.killed) - left == kept(runs.whole)
