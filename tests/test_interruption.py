"""Ctrl-C ends a program with one line and exit code 130, whatever it is busy with: real, small programs."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tf_simclrv2.interruption import GRACE

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = """
import hashlib, sys, time
from tf_simclrv2.interruption import CtrlC, say_last

def compute_outside_of_python():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # Minutes, in which no handler runs.

with CtrlC("stopped"):
    print("started", flush=True)
"""
IN_PYTHON = "time.sleep(60)"
OUTSIDE = "compute_outside_of_python()"


def start(body: str, **options: object) -> subprocess.Popen:
    """A program that has entered the context."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + lines],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    return process


def interrupted(process: subprocess.Popen, times: int = 1) -> tuple[int, str, str, float]:
    """What a program leaves that gets Ctrl-C: exit code, output, errors and seconds."""
    since = time.monotonic()
    try:
        for _ in range(times):
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output, errors, time.monotonic() - since


def test_in_python_it_clears_up_first() -> None:
    body = f"try:\n    {IN_PYTHON}\nfinally:\n    print('cleared up')"
    assert interrupted(start(body))[:3] == (130, "cleared up\nstopped\n", "")


def test_outside_of_python_it_ends_after_a_while() -> None:
    code, output, errors, seconds = interrupted(start(OUTSIDE))
    assert (code, output, errors) == (130, "stopped\n", "")
    assert seconds > GRACE


def test_a_second_one_ends_it_at_once() -> None:
    code, output, errors, seconds = interrupted(start(OUTSIDE), times=2)
    assert (code, output, errors) == (130, "stopped\n", "")
    assert seconds < 0.3 + GRACE  # When the first one would have ended it.


def test_what_fails_because_of_it_is_not_told() -> None:
    body = f"try:\n    {IN_PYTHON}\nexcept KeyboardInterrupt:\n    sys.exit('error: a worker is lost')"
    assert interrupted(start(body))[:3] == (130, "stopped\n", "")


def test_the_last_line_is_that_of_the_moment() -> None:
    assert interrupted(start(f"say_last(lambda: 'saved in x')\n{IN_PYTHON}"))[1] == "saved in x\n"
    assert interrupted(start(f"say_last(lambda: 1 / 0)\n{IN_PYTHON}"))[:3] == (130, "", "")


def test_it_is_told_elsewhere_if_nobody_reads_the_output() -> None:
    process = start(IN_PYTHON)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == "stopped\n" and process.wait(60) == 130


def test_a_program_that_a_script_has_put_in_the_background_ends_too() -> None:
    """Such a one starts with Ctrl-C ignored, but its terminal's Ctrl-C is meant for it."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert interrupted(start(IN_PYTHON, **ignoring))[0] == 130


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("sys.exit(75)", 75)])
def test_without_it_nothing_changes(body: str, code: int) -> None:
    process = start(body)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == code


def test_a_package_that_is_run_as_a_program_is_quiet_from_its_first_import() -> None:
    """Python imports the package before the module that `-m` names can enter anything."""
    slow = "import sys, time; sys.argv = ['-m']; import tf_simclrv2; print('started', flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{slow}; time.sleep(60)"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    code, output, errors, _ = interrupted(process)
    assert (code, errors) == (130, "") and output.startswith("stopped by Ctrl-C;")
