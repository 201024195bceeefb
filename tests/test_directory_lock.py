"""Two programs do not write into one directory, and a killed one blocks nobody."""

import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from tests.training.small_runs import config_for, execute
from tf_simclrv2 import ConfigError
from tf_simclrv2.directory_lock import LOCK_FILE, directory_lock, is_in_use

held = functools.partial(directory_lock, what="directory", cure="wait until that has ended")
ROOT = pathlib.Path(__file__).resolve().parents[1]
HOLDER = """
import sys
from tf_simclrv2.directory_lock import directory_lock
with directory_lock(sys.argv[1], "model_dir", "wait"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another program that holds the directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_program_is_told_who_the_first_is(holder, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ConfigError, match=rf"in use by process {holder.pid} on {socket.gethostname()};"):
        execute(config_for(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_evaluation_is_let_in(holder, tmp_path):
    other = tmp_path / "finished"
    execute(config_for(other, train_steps=1, mode="train"))
    for path in other.iterdir():
        if path.name != LOCK_FILE:
            path.rename(tmp_path / path.name)
    result, *_ = execute(config_for(tmp_path, train_steps=1, mode="eval"))
    assert result["global_step"] == 1
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == holder.pid


def test_a_killed_program_leaves_no_lock(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with held(str(tmp_path)):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_the_lock_ends_with_its_context(tmp_path):
    for _ in range(2):
        with held(str(tmp_path)), pytest.raises(ConfigError, match="in use"), held(str(tmp_path)):
            pass


def test_a_holder_without_a_name(tmp_path):
    with held(str(tmp_path)):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(ConfigError, match="in use by another program"), held(str(tmp_path)):
            pass


def test_whether_a_program_trains(holder, tmp_path):
    assert is_in_use(str(tmp_path)) is True
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert is_in_use(str(tmp_path)) is False
    assert is_in_use(str(tmp_path / "missing")) is False
    assert is_in_use("memory://run") is None


def test_other_filesystems_take_no_lock():
    with held("memory://run"), held("memory://run"):
        pass
