"""What a program of its own gets, and what is said if it ends without a result."""

from __future__ import annotations

import pytest

from tf_simclrv2.errors import RunError
from tf_simclrv2.rehearsal.child_process import run_child

ECHO = """
import json, os, sys
given, word, result = sys.argv[1:]
json.dump({"text": open(given).read(), "word": word, "set": os.environ["SET"]}, open(result, "w"))
"""


def _run(program: str) -> dict:
    return run_child("the echo", ["-c", program], "some text", ["a word"], {"SET": "here"}, "shout louder")


def test_it_gets_a_text_words_and_variables() -> None:
    assert _run(ECHO) == {"text": "some text", "word": "a word", "set": "here"}


def test_one_that_is_killed_ran_out_of_memory() -> None:
    with pytest.raises(
        RunError, match="the echo was killed, probably because this machine ran out of memory"
    ):
        _run("import os; os.kill(os.getpid(), 9)")


def test_one_that_crashes_is_quoted() -> None:
    with pytest.raises(RunError, match=r"the echo ended with code 1 \(no such thing\); shout louder\."):
        _run("raise SystemExit('no such thing')")


def test_one_that_ends_without_a_word_is_named() -> None:
    with pytest.raises(RunError, match=r"the echo ended with code 0 \(no message\)"):
        _run("")
