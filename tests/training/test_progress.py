"""What a training tells of its progress where its output is a log."""

import re

import tensorflow as tf

from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2.training import progress
from tf_simclrv2.training.progress import Progress

OUTPUT = {"train/total_loss": tf.constant(2.0), "train/contrast_acc": tf.constant(0.25)}


def test_a_line_now_and_then(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    lines, step = Lines(), tf.Variable(100, dtype=tf.int64)
    tell = Progress(total=1100, step=100, batch_size=8, global_step=step, say=lines)
    for _ in range(6):
        now[0] += 12.0
        step.assign_add(24)
        tell(OUTPUT)
    tell.close()
    assert lines == [
        "step 172 of 1,100: 16.0 images/s, loss 2.000, contrast_acc 0.250, 0:07:44 left",
        "step 244 of 1,100: 16.0 images/s, loss 2.000, contrast_acc 0.250, 0:07:08 left",
    ]


def test_a_terminal_gets_no_lines(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = Lines()
    Progress(total=9, step=0, batch_size=8, global_step=tf.Variable(1), say=lines)(OUTPUT)
    assert lines == []


def test_the_lines_of_a_run_reach_standard_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(Lines, "__call__", lambda _, text: print(text))
    execute(config_for(tmp_path, mode="train", train_steps=2, steps_per_loop=1))
    found = re.findall(r"^step (\d) of 2: .* images/s, loss ", capsys.readouterr().out, re.MULTILINE)
    assert found == ["1", "2"]
