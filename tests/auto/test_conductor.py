"""Stages run once, within their time, and a job that continues knows what is done."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.programs import SMALL_RUN
from tf_simclrv2 import ConfigError
from tf_simclrv2.auto import conductor as conductor_module
from tf_simclrv2.auto.budget import Clock
from tf_simclrv2.auto.commands import Stage
from tf_simclrv2.auto.conductor import RECORD, Conductor, Record
from tf_simclrv2.errors import RunError

ASKED = {"data_dir": "/pictures", "flags": ["--seed=1"]}
QUICK = Stage("quick", ("--version",))
# A training that ends only if it is stopped; a server would call being stopped a success.
ENDLESS = ("run", "--mode=train", *SMALL_RUN, "--train_steps=1000000", "--checkpoint_steps=1000000")


# Needs a while to save when it is asked to end, and does not hear Ctrl-C.
STAGE = """#!/bin/sh
trap 'sleep 3; echo saved > saved; exit 0' TERM
trap '' INT
echo $$ > unfinished
mv unfinished pid
while :; do sleep 0.1; done
"""
JOB = """
import sys
from tf_simclrv2.auto.budget import Clock
from tf_simclrv2.auto.commands import Stage
from tf_simclrv2.auto.conductor import Conductor, Record
from tf_simclrv2.interruption import CONTINUE, CtrlC
sys.executable = "./stage"
with CtrlC(CONTINUE):
    Conductor(Record("auto.json", {}), Clock(600.0, 0.0), print).run(Stage("quick", ()))
"""


def conductor_of(folder, lines, seconds=600.0) -> Conductor:
    record = Record.open(str(folder), ASKED, print)
    return Conductor(record, Clock(seconds, record.used_s), lines.append)


def test_a_stage_runs_once(tmp_path):
    lines: list[str] = []
    for _ in range(2):
        conductor = conductor_of(tmp_path, lines)
        conductor.run(QUICK)
        assert conductor.done("quick") and conductor.whole("quick") and not conductor.done("endless")
    assert lines == ["\nsimclrv2 --version"]
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["asked"] == ASKED and record["stages"]["quick"]["command"] == "simclrv2 --version"
    assert 0 < record["stages"]["quick"]["seconds"] <= record["used_s"]


def test_a_stage_that_continues_has_taken_the_time_of_both(tmp_path, monkeypatch):
    def finish(*_: object) -> bool:
        time.sleep(0.3)
        if not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        return True

    stopped: list[bool] = []
    monkeypatch.setattr(Conductor, "_finish", finish)
    with pytest.raises(KeyboardInterrupt):
        conductor_of(tmp_path, []).run(QUICK)
    conductor_of(tmp_path, []).run(QUICK)
    record = json.loads((tmp_path / RECORD).read_text())
    assert 0.6 <= record["stages"]["quick"]["seconds"] <= record["used_s"]


def test_a_stage_is_stopped_when_its_time_is_up(tmp_path):
    lines: list[str] = []
    conductor = conductor_of(tmp_path, lines, seconds=20.0)
    stage = Stage("endless", (*ENDLESS, f"--model_dir={tmp_path / 'endless'}"))
    conductor.run(stage, spare_s=8.0)
    # In that time TensorFlow starts, but not on a busy machine.
    saved = bool([*(tmp_path / "endless").glob("ckpt-*.index")])
    assert conductor.done("endless") == saved and not conductor.whole("endless")
    assert lines[-1].startswith("endless was stopped after 1") and "time for the next stages" in lines[-1]


def test_a_stage_whose_time_is_up_may_save(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage").write_text(STAGE)
    (tmp_path / "stage").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "./stage")
    (tmp_path / "job").mkdir()
    conductor_of(tmp_path / "job", [], seconds=20.0).run(QUICK, spare_s=15.0)
    assert (tmp_path / "saved").read_text() == "saved\n"


def test_a_stage_that_saved_nothing_is_not_done(tmp_path):
    """It was stopped while it started, and the job continues with it."""
    lines: list[str] = []
    conductor = conductor_of(tmp_path, lines, seconds=20.0)
    conductor.run(Stage("endless", (*ENDLESS, f"--model_dir={tmp_path / 'endless'}")), spare_s=19.5)
    assert not conductor.done("endless")
    assert lines[-1].endswith("to leave time for the next stages, and nothing of it is saved")
    assert json.loads((tmp_path / RECORD).read_text())["stages"] == {}


def test_a_stage_is_not_started_without_the_time_for_its_start(tmp_path):
    lines: list[str] = []
    conductor = conductor_of(tmp_path, lines, seconds=20.0)
    conductor.run(QUICK, spare_s=10.0, start_s=15.0)
    assert not conductor.done("quick") and lines == [
        "quick was not run to leave time for the next stages, and nothing of it is saved"
    ]


def test_what_was_saved_before_is_taken_where_there_is_no_more_time(tmp_path):
    (tmp_path / "quick").mkdir()
    for name in ("ckpt-7.index", "ckpt-7.data-00000-of-00001"):
        (tmp_path / "quick" / name).touch()
    Record(str(tmp_path / RECORD), ASKED).write()
    conductor = conductor_of(tmp_path, [], seconds=20.0)
    conductor.run(QUICK, spare_s=20.0)
    assert conductor.done("quick") and not conductor.whole("quick")


def test_a_stage_of_an_older_record_that_saved_nothing_is_not_done(tmp_path):
    stages = {"endless": {"seconds": 1.0, "whole": False, "command": "simclrv2 run"}}
    Record(str(tmp_path / RECORD), ASKED, stages=stages).write()
    assert not conductor_of(tmp_path, []).done("endless")


def test_a_stage_that_fails_is_not_done(tmp_path):
    conductor = conductor_of(tmp_path, [])
    with pytest.raises(RunError, match="wrong failed with exit code 2"):
        conductor.run(Stage("wrong", ("no-such-command",)))
    assert not conductor.done("wrong")


def test_time_that_was_used_counts_when_a_job_goes_on(tmp_path):
    record = Record(str(tmp_path / RECORD), ASKED, used_s=450.0)
    record.write()
    assert Record.open(str(tmp_path), ASKED, print).used_s == 450.0


def test_another_job_is_not_continued(tmp_path):
    Record(str(tmp_path / RECORD), ASKED).write()
    (tmp_path / "pretrained").mkdir()
    with pytest.raises(ConfigError, match=r"data_dir is '/others', but the job in .* began with '/pictures'"):
        Record.open(str(tmp_path), {**ASKED, "data_dir": "/others"}, print)


def test_other_flags_go_on(tmp_path):
    """What a stage that failed proposes is a flag; each stage refuses those that it may not have."""
    Record(str(tmp_path / RECORD), ASKED, used_s=5.0).write()
    (tmp_path / "pretrained").mkdir()
    lines: list[str] = []
    flags = ["--seed=1", "--max_skipped_fraction=0.05"]
    record = Record.open(str(tmp_path), {**ASKED, "flags": flags}, lines.append)
    assert record.used_s == 5.0 and record.asked["flags"] == flags
    assert lines == [f"flags were ['--seed=1'], are {flags}: for the stages that have not ended"]
    with pytest.raises(ConfigError, match="data_dir is '/others'"):
        Record.open(str(tmp_path), {"data_dir": "/others", "flags": flags}, print)


def test_a_job_that_was_only_planned_may_become_another(tmp_path):
    Record(str(tmp_path / RECORD), ASKED, facts={"choices": {}}).write()
    other = Record.open(str(tmp_path), {**ASKED, "data_dir": "/others"}, print)
    assert other.asked["data_dir"] == "/others" and other.facts == {}


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds other files; choose a new folder"):
        Record.open(str(tmp_path), ASKED, print)


@pytest.mark.parametrize("output", ["/proc/job", "file/job"])
def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"output is '{output}', which cannot be written"):
        Record.open(output, ASKED, print)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["", "{", '{"asked": {}, "color": 1}'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ConfigError, match=r"auto\.json' cannot be read"):
        Record.open(str(tmp_path), ASKED, print)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_job_that_is_stopped_lets_its_stage_save_and_leaves_nothing_running(
    tmp_path: pathlib.Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "stage").write_text(STAGE)
    (tmp_path / "stage").chmod(0o755)
    path = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[2])}
    job = subprocess.Popen(
        [sys.executable, "-c", JOB], cwd=tmp_path, env=path, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "pid").exists():
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(number)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == code and "type the same command to continue" in said
    assert (tmp_path / "saved").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert json.loads((tmp_path / "auto.json").read_text())["used_s"] > 0


def test_a_job_under_nohup_goes_on_when_its_terminal_is_closed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stage").write_text(
        STAGE.replace("while :; do sleep 0.1; done", "sleep 5; echo whole > saved")
    )
    (tmp_path / "stage").chmod(0o755)
    path = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[2])}
    ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-c", JOB]
    job = subprocess.Popen(ignoring, cwd=tmp_path, env=path, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "pid").exists():
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGHUP)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 0 and "continue" not in said
    assert (tmp_path / "saved").read_text() == "whole\n"


def test_a_job_that_fails_ends_its_stage(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage").write_text(STAGE)
    (tmp_path / "stage").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "./stage")
    monkeypatch.setattr(conductor_module, "_NOTE", 0.0)
    conductor = conductor_of(tmp_path / "job", [])

    def full_disk() -> None:
        if (tmp_path / "pid").exists():
            raise OSError("No space left on device")

    monkeypatch.setattr(conductor, "note", full_disk)
    with pytest.raises(OSError, match="No space left"):
        conductor.run(QUICK)
    assert (tmp_path / "saved").exists()
