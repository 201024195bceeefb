"""A worker that is killed, or told to stop, costs nothing but time."""

import dataclasses
import re
import signal
import time

import numpy as np
import pytest

from tests.distribution.workers import pair, said
from tests.programs import SMALL_PROGRAM, SMALL_RUN, newest_step, values_of, wait_for_step

STEPS, INTERVAL, PATIENCE = 14, 2, 600
# Between the loss of a worker and the end of the other; TensorFlow misses a heartbeat after 10 s.
BOUND = 60
FLAGS = [
    *SMALL_RUN,
    "--mode=train",
    "--train_mode=supervised",
    f"--train_steps={STEPS}",
    f"--checkpoint_steps={INTERVAL}",
    "--keep_checkpoint_max=9",
]


@dataclasses.dataclass
class Ending:
    """How two workers ended: exit codes, what they said, and the seconds from the signal to the end."""

    codes: list[int]
    said: list[str]
    seconds: float = 0.0


def run_pair(directory, logs, interrupt=None):
    """Two workers on a model_dir; `interrupt` is a step, and a signal and those of them that get it then."""
    logs.mkdir()
    with pair([*SMALL_PROGRAM, "run", f"--model_dir={directory}", *FLAGS], logs) as workers:
        if interrupt:
            step, number, *which = interrupt
            wait_for_step(directory, step, workers, sorted(logs.iterdir()), PATIENCE)
            for index in which:
                workers[index].send_signal(number)
        since = time.monotonic()
        codes = [worker.wait(PATIENCE) for worker in workers]
        return Ending(codes, [said(logs, index) for index in range(2)], time.monotonic() - since)


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
    """An undisturbed run, and one whose second worker is killed and, after a restart, told to stop.

    After another restart, both get Ctrl-C, as if one terminal had started them.
    """
    root = tmp_path_factory.mktemp("lost")
    # One pair at a time: a worker that gets no time on a busy machine misses its heartbeats too.
    whole = run_pair(root / "whole", root / "whole_logs")
    killed = run_pair(root / "lost", root / "killed_logs", (2 * INTERVAL, signal.SIGKILL, 1))
    left = newest_step(root / "lost")
    stopped = run_pair(root / "lost", root / "stopped_logs", (left + INTERVAL, signal.SIGTERM, 1))
    goes_on = newest_step(root / "lost") + 1
    interrupted = run_pair(root / "lost", root / "ctrl_c_logs", (goes_on, signal.SIGINT, 0, 1))
    ended = run_pair(root / "lost", root / "ended_logs")
    return root, whole, killed, left, stopped, interrupted, ended


def test_the_other_worker_ends_soon_and_says_where_to_resume(endings):
    _, whole, killed, left, *_ = endings
    assert whole.codes == [0, 0], whole.said
    assert killed.codes == [1, -signal.SIGKILL], killed.said
    sentence = r"error: another of the 2 workers was lost .* to resume from ckpt-(\d+)\."
    assert int(re.search(sentence, killed.said[0])[1]) == left
    assert killed.seconds < BOUND


def test_a_signal_to_one_stops_all_at_the_same_step(endings):
    _, _, _, left, stopped, interrupted, ended = endings
    assert stopped.codes == [75, 75], stopped.said
    steps = {re.search(r"stopped by SIGTERM at step (\d+) of", text)[1] for text in stopped.said}
    assert len(steps) == 1
    assert all(f"resuming from step {left} of {STEPS}" in text for text in stopped.said)
    assert ended.codes == [0, 0], ended.said
    assert all(f"resuming from step {steps.pop()} of" in text for text in interrupted.said[:1])


def test_ctrl_c_to_both_saves_one_checkpoint(endings):
    *_, interrupted, ended = endings
    assert interrupted.codes == [130, 130], interrupted.said
    lines = {text.splitlines()[-1] for text in interrupted.said}
    assert len(lines) == 1, "both stop at the same step"
    said = rf"stopped by Ctrl-C at step (\d+) of {STEPS}; everything is saved in (\S+);"
    step, path = re.match(said, lines.pop()).groups()
    assert path.endswith(f"ckpt-{step}") and "Traceback" not in "".join(interrupted.said)
    assert f"resuming from step {step} of" in ended.said[0]


def test_it_ends_bit_for_bit_like_the_undisturbed_run(endings):
    root = endings[0]
    whole, lost = (values_of(root / name, STEPS) for name in ("whole", "lost"))
    assert whole.keys() == lost.keys() and len(whole) > 20
    for key, value in whole.items():
        np.testing.assert_array_equal(lost[key], value, err_msg=key)
