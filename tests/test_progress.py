"""What is told of the progress of long work, to a log and to a terminal."""

import io
import re

import pytest
import tensorflow as tf

from tests.small_network import small_network as small_network
from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import progress
from tf_simclrv2.progress import Progress, track
from tf_simclrv2.training.progress import TrainingProgress

OUTPUT = {"train/total_loss": tf.constant(2.0), "train/contrast_acc": tf.constant(0.25)}


@pytest.fixture
def clock(monkeypatch):
    """Hands of a clock that only moves where a test says so."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def line_each_time(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_training_tells_a_line_now_and_then(clock):
    lines, step = Lines(), tf.Variable(100, dtype=tf.int64)
    tell = TrainingProgress(total=1100, step=100, batch_size=8, global_step=step, say=lines)
    for _ in range(6):
        clock[0] += 12.0
        step.assign_add(24)
        tell(OUTPUT)
    tell.close()
    assert lines == [
        "step 172 of 1,100: 16.0 images/s, loss 2.000, contrast_acc 0.250, 0:07:44 left",
        "step 244 of 1,100: 16.0 images/s, loss 2.000, contrast_acc 0.250, 0:07:08 left",
    ]


def test_no_time_is_told_where_nothing_was_done(clock):
    lines, step = Lines(), tf.Variable(0, dtype=tf.int64)  # mixed_float16 may skip steps.
    tell = TrainingProgress(total=10, step=0, batch_size=8, global_step=step, say=lines)
    clock[0] += 60.0
    tell(OUTPUT)
    assert lines == ["step 0 of 10: 0.0 images/s, loss 2.000, contrast_acc 0.250"]


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


def test_lines_of_a_run_reach_standard_output(tmp_path, line_each_time, monkeypatch, capsys):
    monkeypatch.setattr(Lines, "__call__", lambda _, text: print(text))
    execute(
        config_for(tmp_path, train_steps=2, steps_per_loop=1, protocols=("online", "knn"), report_images=20)
    )
    said = capsys.readouterr().out
    assert re.findall(r"^step (\d) of 2: .* images/s, loss ", said, re.MULTILINE) == ["1", "2"]
    # 30 images to evaluate on, 40 to train on, and the first 20 of the 30 to show, in batches of 16.
    counted = r"^{}, batch (\d) of (\d): .* images/s, .* left$"
    for what, batches in (
        ("evaluation", 2),
        (r"features of digits/test\[:30\]", 2),
        (r"features of digits/train\[:40\]", 3),
        ("features for the report", 2),
    ):
        found = re.findall(counted.format(what), said, re.MULTILINE)
        assert found == [(str(i), str(batches)) for i in range(1, batches + 1)], (what, said)
