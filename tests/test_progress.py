"""What is told of the progress of long work, to a log and to a terminal."""

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
import types

import pytest
import tensorflow as tf

from tests.small_network import small_network as small_network
from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import progress
from tf_simclrv2.progress import Progress, is_terminal, phase, track
from tf_simclrv2.training.progress import TrainingProgress

OUTPUT = {
    "train/total_loss": tf.constant(9.0),
    "train/contrast_loss": tf.constant(2.0),
    "train/contrast_acc": tf.constant(0.25),
}


@pytest.fixture(autouse=True)
def _as_a_person_at_a_terminal(monkeypatch):
    """And nothing from earlier tests continues."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_HEARTBEAT", progress._Heartbeat())


@pytest.fixture
def clock(monkeypatch):
    """Hands of a clock that only moves where a test says so, and no thread that looks at it."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(progress, "_BEAT", 60.0)
    return now


@pytest.fixture
def line_each_time(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_BEAT", 60.0)


@pytest.fixture
def quick(monkeypatch):
    """Lines after a tenth of a second of silence."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.1)
    monkeypatch.setattr(progress, "_BEAT", 0.02)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait_for(lines: list[str], count: int) -> list[str]:
    """The lines, once there are so many."""
    end = time.monotonic() + 20
    while len(lines) < count:
        assert time.monotonic() < end, lines
        time.sleep(0.01)
    return lines


def task_at(step: int):
    """What the progress of training needs of a task that trains on 8 images a step."""
    return types.SimpleNamespace(
        loss_names=("contrast_loss", "supervised_loss"),
        config=types.SimpleNamespace(images_per_step=8),
        global_step=tf.Variable(step, dtype=tf.int64),
    )


def test_training_tells_a_line_now_and_then(clock):
    lines, task = Lines(), task_at(100)
    tell = TrainingProgress(task, total=1100, start=100, say=lines)
    for _ in range(6):
        clock[0] += 12.0
        task.global_step.assign_add(24)
        tell(OUTPUT)
    tell.close()
    assert lines == [
        "step 172 of 1,100: 16.0 images/s, contrast_loss 2.000, contrast_acc 0.250, 0:07:44 left",
        "step 244 of 1,100: 16.0 images/s, contrast_loss 2.000, contrast_acc 0.250, 0:07:08 left",
    ]


def test_no_time_is_told_where_nothing_was_done(clock):
    lines, task = Lines(), task_at(0)  # mixed_float16 may skip steps.
    tell = TrainingProgress(task, total=10, start=0, say=lines)
    clock[0] += 60.0
    tell(OUTPUT)
    assert lines == ["step 0 of 10: 0.0 images/s, contrast_loss 2.000, contrast_acc 0.250"]


def test_a_loop_of_steps_that_takes_long_is_looked_into(quick):
    lines, task = Lines(), task_at(0)
    tell = TrainingProgress(task, total=10, start=0, say=lines, look=True)
    wait_for(lines, 1)
    task.global_step.assign_add(3)
    wait_for(lines, 3)
    tell.close()
    assert lines[0].startswith("step 0 of 10: at the next one for 0:00:0")
    assert any(re.match(r"step 3 of 10: [\d.]+ images/s, .* left", line) for line in lines)


def test_items_are_told_and_all_come(clock):
    lines, seen = Lines(), []
    for item in track(range(10), "page", lines):
        seen.append(item)
        clock[0] += 20.0
    assert seen == list(range(10))
    # Each 40 s: two of them, at 20 s each.
    assert lines[0] == "page 2 of 10: 0.1 items/s, 0:02:40 left"
    assert len(lines) == 5


def test_silent_items_all_come():
    assert list(track([3, 1, 2], "page", None)) == [3, 1, 2]


def test_a_terminal_gets_a_bar_and_no_lines(line_each_time, monkeypatch):
    lines, screen = Lines(), Terminal()
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("sys.stderr", screen)
    with Progress("page", 4, lines, leave=True) as pages:
        pages.reach(3, {"now": "reading"})
    assert lines == []
    assert re.search(r"page: +75%.* 3/4 .*now=reading", screen.getvalue())


def test_lines_are_said_where_the_bar_is_not_seen(line_each_time, monkeypatch):
    """`2>log`: standard output is a terminal, but the bar would go to a file."""
    lines, file = Lines(), io.StringIO()
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("sys.stderr", file)
    with Progress("page", 4, lines) as pages:
        pages.reach(3)
    assert len(lines) == 1 and file.getvalue() == ""


@pytest.mark.parametrize(
    ("columns", "environment", "found"),
    [
        (80, {}, True),
        (0, {}, False),  # docker exec -t, from a script.
        (80, {"CI": "true"}, False),
        (80, {"CI": "false"}, True),
        (80, {"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_one_on_which_a_bar_is_seen(monkeypatch, columns, environment, found):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(inner, "w") as stream:
        assert is_terminal(stream) is found
    os.close(outer)


def test_a_file_is_no_terminal(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        assert not is_terminal(stream)


def test_an_item_that_takes_long_is_not_silent(quick):
    lines = Lines()
    with Progress("page", 9, lines) as pages:
        pages.advance({"now": "reading"})
        wait_for(lines, 2)
    assert re.fullmatch(r"page 1 of 9: [\d.]+ items/s, now reading, 0:00:\d\d left", lines[0])
    assert re.fullmatch(r"page 1 of 9: at the next one for 0:00:\d\d, now reading", lines[1])
    count = len(lines)
    time.sleep(0.3)
    assert len(lines) == count, "it has ended"


def test_a_phase_is_told_in_a_log(quick):
    lines = Lines()
    with phase("reading", lines):
        wait_for(lines, 2)
    assert all(re.fullmatch(r"reading: 0:00:\d\d so far", line) for line in lines)
    with phase("reading", None):
        pass


def test_a_phase_is_a_line_on_a_terminal_that_goes_away(quick, monkeypatch):
    lines, screen = Lines(), Terminal()
    monkeypatch.setattr(progress, "_SHORT", 0.0)
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("sys.stderr", screen)
    with phase("reading", lines):
        while "reading: 0:00:00" not in screen.getvalue():
            time.sleep(0.01)
    assert lines == [] and screen.getvalue().split("\r")[-2].strip() == ""


def test_the_innermost_work_speaks_and_short_ones_count_together(quick):
    outer, inner = Lines(), Lines()
    with phase("outer", outer):
        for number in range(40):  # None takes long enough for a line.
            with phase(f"inner {number}", inner):
                time.sleep(0.01)
    assert len(inner) >= 1
    assert len(outer) <= 1, "it speaks only while nothing is going on within"


def test_an_error_in_what_is_said_harms_nothing(quick):
    def fail(text: str) -> None:
        failed.set()
        raise OSError(text)

    failed = threading.Event()
    with phase("reading", fail):
        assert failed.wait(20)


def test_lines_of_a_run_reach_standard_output(tmp_path, line_each_time, monkeypatch, capsys):
    monkeypatch.setattr(Lines, "__call__", lambda _, text: print(text))
    execute(
        config_for(tmp_path, train_steps=2, steps_per_loop=1, protocols=("online", "knn"), report_images=20)
    )
    said = capsys.readouterr().out
    assert re.findall(r"^step (\d) of 2: .* images/s, contrast_loss ", said, re.MULTILINE) == ["1", "2"]
    # 30 images to evaluate on, 40 to train on, and the first 20 of each to show, in batches of 16.
    counted = r"^{}, batch (\d) of (\d): .* images/s, .* left$"
    for what, batches in (
        ("evaluation", 2),
        (r"features of digits/test\[:30\]", 2),
        (r"features of digits/train\[:40\]", 3),
        (r"features of digits/test\[:30\] for the report", 2),
        (r"features of digits/train\[:40\] for the report", 2),
    ):
        found = re.findall(counted.format(what), said, re.MULTILINE)
        assert found == [(str(i), str(batches)) for i in range(1, batches + 1)], (what, said)
