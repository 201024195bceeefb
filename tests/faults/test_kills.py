"""A run that is killed again and again ends bit for bit like one that nobody touched.

SIGKILLS and SIGTERMS in the environment say how often (`make soak` asks for more), KILL_SEED when.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIGKILLS = int(os.environ.get("SIGKILLS", "3"))
SIGTERMS = int(os.environ.get("SIGTERMS", "2"))
SEED = int(os.environ.get("KILL_SEED", "0"))
INTERVAL = 3
# Room for one interruption in each stretch of so many steps.
STRETCH = 9
STEPS = STRETCH * (SIGKILLS + SIGTERMS + 1)
EXIT_PREEMPTED = 75
PATIENCE = 120
FLAGS = [
    "--mode=train",
    "--dataset=digits",
    "--train_split=train[:100]",
    "--image_size=8",
    "--resnet_depth=18",
    "--train_batch_size=16",
    "--deterministic",
    "--learning_rate=1.0",
    "--warmup_epochs=0",
    "--strategy=one_device",
    "--steps_per_loop=1",
    f"--train_steps={STEPS}",
    f"--checkpoint_steps={INTERVAL}",
    "--keep_checkpoint_max=2",
]


def start(directory: pathlib.Path, log: pathlib.Path) -> subprocess.Popen:
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "run.py", f"--model_dir={directory}", *FLAGS],
            cwd=ROOT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def newest_step(directory: pathlib.Path) -> int:
    return max((int(path.stem.split("-")[1]) for path in directory.glob("ckpt-*.index")), default=0)


def wait_for_step(directory: pathlib.Path, step: int, process: subprocess.Popen, log: pathlib.Path) -> None:
    """Until a checkpoint of that step or a later one is there."""
    end = time.monotonic() + PATIENCE
    while newest_step(directory) < step:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, f"step {step} was not reached: {log.read_text()}"
        time.sleep(0.01)


def values_of(directory: pathlib.Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(directory / f"ckpt-{STEPS}"))
    keys = reader.get_variable_to_shape_map()
    # How often this history was saved is no part of the result.
    return {key: reader.get_tensor(key) for key in keys if not key.startswith(("save_counter", "_CHECK"))}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A finished run that was interrupted, one that was not, and the exit codes of the interruptions."""
    root = tmp_path_factory.mktemp("kills")
    whole, broken, log = root / "whole", root / "broken", root / "log"
    undisturbed = start(whole, root / "undisturbed")
    moments = random.Random(SEED)
    signals = [signal.SIGKILL] * SIGKILLS + [signal.SIGTERM] * SIGTERMS
    moments.shuffle(signals)
    codes = []
    try:
        for number in signals:
            process = start(broken, log)
            try:
                # A step or more further than before, and then anywhere within a step or a save.
                wait_for_step(broken, newest_step(broken) + moments.randint(1, STRETCH // 2), process, log)
                time.sleep(moments.uniform(0.0, 0.1))
                assert process.poll() is None, "it ended before it was interrupted"
                process.send_signal(number)
                codes.append((number, process.wait(PATIENCE)))
            finally:
                process.kill()
        last = start(broken, log)
        assert last.wait(2 * PATIENCE) == 0, log.read_text()
        assert undisturbed.wait(2 * PATIENCE) == 0, (root / "undisturbed").read_text()
    finally:
        undisturbed.kill()
    return whole, broken, codes, log.read_text()


def test_each_interruption_ends_as_documented(killed):
    *_, codes, _ = killed
    assert len(codes) == SIGKILLS + SIGTERMS
    for number, code in codes:
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else EXIT_PREEMPTED)


def test_sigterm_says_where_it_saved(killed):
    _, broken, _, log = killed
    lines = [line for line in log.splitlines() if line.startswith("stopped by SIGTERM at step ")]
    assert len(lines) == SIGTERMS
    for line in lines:
        step = line.removeprefix("stopped by SIGTERM at step ").split(" ")[0]
        assert f"all is saved in {broken}/ckpt-{step}," in line
        assert f"resuming from step {step} of {STEPS}" in log


def test_the_interrupted_run_ends_bit_for_bit_like_the_other(killed):
    whole, broken, *_ = killed
    expected, found = values_of(whole), values_of(broken)
    assert expected.keys() == found.keys() and len(expected) > 100
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_nothing_of_the_kills_is_left(killed):
    whole, broken, *_ = killed

    def kept(directory: pathlib.Path) -> set[str]:
        return {path.name for path in directory.iterdir() if not path.name.startswith("events")}

    # A save that was cut short while old checkpoints were removed may leave one of their data files.
    data = {name for name in kept(broken) - kept(whole) if name.startswith("ckpt-") and ".data-" in name}
    assert kept(broken) - data == kept(whole)
