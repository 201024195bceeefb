"""Ctrl-C ends every command with one line, no traceback and exit code 130, and training saves first."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from tests.programs import SMALL_PROGRAM, SMALL_RUN, newest_step, start, values_of, wait_for_step

PATIENCE = 300
COMMANDS = {
    "run": ("run.py", "--model_dir={folder}/run"),
    "eval": ("-m", "tf_simclrv2", "eval", "--model_dir={folder}/run"),
    "export": ("-m", "export", "--model_dir={folder}/run", "--output={folder}/export"),
    "convert": ("-m", "export.convert", "--input={folder}/run", "--output={folder}/converted"),
    "doctor": ("-m", "tf_simclrv2.doctor"),
    "report": ("-m", "tf_simclrv2.report", "{folder}/run"),
    "data-service": ("-m", "tf_simclrv2.data.service", "--port=0", "--host=localhost"),
}
STEPS = 400
FLAGS = [
    *SMALL_RUN,
    "--eval_split=test",
    "--learning_rate=1.0",
    "--report_images=0",
    f"--train_steps={STEPS}",
]


def imports_tensorflow(process: subprocess.Popen) -> bool:
    """Whether a program has begun to import TensorFlow, which takes some seconds."""
    assert process.poll() is None
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    return "tensorflow" in maps.read_text()


def wait_until(process: subprocess.Popen, is_true, log: pathlib.Path) -> None:
    end = time.monotonic() + PATIENCE
    while not is_true():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """Exit code and words of each command that gets Ctrl-C while it imports TensorFlow; all at once."""
    folder, logs = tmp_path_factory.mktemp("early"), tmp_path_factory.mktemp("logs")
    started = {
        name: start([word.format(folder=folder) for word in words], logs / name)
        for name, words in COMMANDS.items()
    }
    try:
        for name, process in started.items():
            wait_until(process, lambda process=process: imports_tensorflow(process), logs / name)
            process.send_signal(signal.SIGINT)
        codes = {name: process.wait(PATIENCE) for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    return folder, {name: (codes[name], (logs / name).read_text()) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_with_one_line(early, name):
    folder, found = early
    code, text = found[name]
    assert code == 130
    assert re.fullmatch(r"stopped by Ctrl-C; [^\n]*type the same command to start again\n", text), text
    assert not list(folder.iterdir()), "nothing is left"


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A run that gets Ctrl-C while it trains, and one that continues and gets it while it evaluates."""
    folder = tmp_path_factory.mktemp("training")
    run, said, codes = folder / "run", [], []
    for words in (["--mode=train"], ["--mode=train_then_eval", "--eval_protocols=linear"]):
        log = folder / f"{len(said)}.log"
        steps = [] if not said else [f"--train_steps={newest_step(run) + 2}"]
        process = start([*SMALL_PROGRAM, "run", f"--model_dir={run}", *FLAGS, *words, *steps], log)
        try:
            if said:
                wait_until(process, lambda log=log: "linear evaluation" in log.read_text(), log)
            else:
                wait_for_step(run, 1, [process], [log], PATIENCE)
            process.send_signal(signal.SIGINT)
            codes.append(process.wait(PATIENCE))
        finally:
            process.kill()
        said.append(log.read_text())
    return run, codes, said


def test_training_saves_and_says_where(training):
    run, codes, said = training
    assert codes[0] == 130 and "Traceback" not in said[0]
    last = said[0].splitlines()[-1]
    match = re.fullmatch(
        rf"stopped by Ctrl-C at step (\d+) of {STEPS}; everything is saved in (\S+); "
        "type the same command to continue",
        last,
    )
    assert match and match[2] == f"{run}/ckpt-{match[1]}"
    assert len(values_of(run, int(match[1]))) > 100
    assert f"resuming from step {match[1]} of" in said[1]


def test_evaluation_ends_and_says_what_is_saved(training):
    run, codes, said = training
    assert codes[1] == 130 and "Traceback" not in said[1]
    newest = newest_step(run)
    assert said[1].splitlines()[-1] == (
        f"stopped by Ctrl-C; training is saved in {run}/ckpt-{newest}; type the same command to continue"
    )
    assert not os.path.exists(run / "result.json")
