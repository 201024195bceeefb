"""Stages run once, within their time, and a job that continues knows what is done."""

import json

import pytest

from tests.programs import SMALL_RUN
from tf_simclrv2 import ConfigError
from tf_simclrv2.auto.budget import Clock
from tf_simclrv2.auto.commands import Stage
from tf_simclrv2.auto.conductor import RECORD, Conductor, Record
from tf_simclrv2.errors import RunError

ASKED = {"data_dir": "/pictures", "flags": ["--seed=1"]}
QUICK = Stage("quick", ("--version",))
# A training that ends only if it is stopped; a server would call being stopped a success.
ENDLESS = ("run", "--mode=train", *SMALL_RUN, "--train_steps=1000000", "--checkpoint_steps=1000000")


def conductor_of(folder, lines, seconds=600.0) -> Conductor:
    record = Record.open(str(folder), ASKED)
    return Conductor(record, Clock(seconds, record.used_s), lines.append)


def test_a_stage_runs_once(tmp_path):
    lines: list[str] = []
    for _ in range(2):
        conductor = conductor_of(tmp_path, lines)
        conductor.run(QUICK)
        assert conductor.done("quick") and conductor.whole("quick") and not conductor.done("endless")
    assert lines == ["\n$ simclrv2 --version"]
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["asked"] == ASKED and record["stages"]["quick"]["command"] == "simclrv2 --version"
    assert 0 < record["stages"]["quick"]["seconds"] <= record["used_s"]


def test_a_stage_is_stopped_when_its_time_is_up(tmp_path):
    lines: list[str] = []
    conductor = conductor_of(tmp_path, lines, seconds=20.0)
    stage = Stage("endless", (*ENDLESS, f"--model_dir={tmp_path / 'endless'}"))
    conductor.run(stage, spare_s=8.0)
    assert conductor.done("endless") and not conductor.whole("endless")
    assert (
        lines[-1].startswith("endless was stopped after 1") and "leave time for the next stages" in lines[-1]
    )


def test_a_stage_that_fails_is_not_done(tmp_path):
    conductor = conductor_of(tmp_path, [])
    with pytest.raises(RunError, match="wrong failed with exit code 2"):
        conductor.run(Stage("wrong", ("no-such-command",)))
    assert not conductor.done("wrong")


def test_time_that_was_used_counts_when_a_job_goes_on(tmp_path):
    record = Record(str(tmp_path / RECORD), ASKED, used_s=450.0)
    record.write()
    assert Record.open(str(tmp_path), ASKED).used_s == 450.0


def test_another_job_is_not_continued(tmp_path):
    Record(str(tmp_path / RECORD), ASKED).write()
    with pytest.raises(ConfigError, match=r"data_dir is '/others', but the job in .* began with '/pictures'"):
        Record.open(str(tmp_path), {**ASKED, "data_dir": "/others"})


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds other files; choose a new folder"):
        Record.open(str(tmp_path), ASKED)


@pytest.mark.parametrize("text", ["", "{", '{"asked": {}, "color": 1}'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ConfigError, match=r"auto\.json' cannot be read"):
        Record.open(str(tmp_path), ASKED)
