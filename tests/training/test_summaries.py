"""Numbers of the training: the same in TensorBoard's events and in the log."""

import json

import numpy as np
import tensorflow as tf

from tf_simclrv2.report.event_files import read_scalars
from tf_simclrv2.training.model_dir.metrics_log import MetricsLog
from tf_simclrv2.training.summaries import LoggedSummaries


def write_two_loops(directory: str | None, log: MetricsLog) -> None:
    step = tf.Variable(0, dtype=tf.int64)
    summaries = LoggedSummaries(directory, step, log)
    for at, loss in ((2, 1.5), (4, 0.75)):
        step.assign(at)
        summaries.write_summaries({"train/total_loss": tf.constant(loss)})
    summaries.flush()


def logged(directory) -> dict[int, float]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert {line["log"] for line in lines} == {"train"}
    return {line["step"]: line["train/total_loss"] for line in lines}


def test_scalars_are_in_the_events_and_in_the_log(tmp_path):
    write_two_loops(str(tmp_path / "train"), MetricsLog(str(tmp_path), lambda step: step / 4))
    assert logged(tmp_path) == {2: 1.5, 4: 0.75}
    scalars, torn = read_scalars(str(tmp_path / "train"))
    assert not torn and scalars.keys() == {"train/total_loss"}
    np.testing.assert_array_equal(scalars["train/total_loss"].steps, [2, 4])
    np.testing.assert_array_equal(scalars["train/total_loss"].values, [1.5, 0.75])


def test_without_a_directory_only_the_log_is_written(tmp_path):
    write_two_loops(None, MetricsLog(str(tmp_path), lambda step: step / 4))
    assert logged(tmp_path) == {2: 1.5, 4: 0.75}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["metrics.jsonl"]


def test_a_worker_other_than_the_chief_writes_nothing(tmp_path):
    write_two_loops(None, MetricsLog(str(tmp_path), lambda step: step / 4, chief=False))
    assert list(tmp_path.iterdir()) == []
