"""`metrics.jsonl`: one line for each log and step, however often a run is resumed or evaluated again."""

import json

import numpy as np
import tensorflow as tf

from tf_simclrv2.training.model_dir.metrics_log import MetricsLog


def lines_of(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def log_for(directory) -> MetricsLog:
    return MetricsLog(str(directory), lambda step: step / 4)


def test_numbers_of_any_kind_become_lines(tmp_path):
    log = log_for(tmp_path)
    log.begin(0)
    log.write("train", 2, {"loss": tf.constant(1.5), "rate": np.float32(0.25), "speed": 3, "bad": np.nan})
    log.write("train", 4, {"loss": float("inf")})
    log.write("eval", 4, {"accuracy": 0.5})
    assert lines_of(tmp_path) == [
        {"log": "train", "step": 2, "epoch": 0.5, "loss": 1.5, "rate": 0.25, "speed": 3.0, "bad": None},
        {"log": "train", "step": 4, "epoch": 1.0, "loss": None},
        {"log": "eval", "step": 4, "epoch": 1.0, "accuracy": 0.5},
    ]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_a_resumed_run_drops_what_it_repeats_and_what_a_kill_left_half(tmp_path):
    first = log_for(tmp_path)
    first.begin(0)
    for step in (2, 4, 6):
        first.write("train", step, {"loss": step})
    first.write("eval", 6, {"accuracy": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"log": "train", "step": 8, "lo')
    again = log_for(tmp_path)
    again.begin(4)
    for step in (6, 8):
        again.write("train", step, {"loss": -step})
    found = [(line["log"], line["step"], line["loss"]) for line in lines_of(tmp_path)]
    assert found == [("train", 2, 2), ("train", 4, 4), ("train", 6, -6), ("train", 8, -8)]


def test_an_evaluation_that_is_made_again_replaces_its_line(tmp_path):
    """It writes while the training continues."""
    training = log_for(tmp_path)
    training.begin(0)
    training.write("train", 2, {"loss": 1.0})
    for accuracy in (0.5, 0.6):
        log_for(tmp_path).write("eval", 2, {"accuracy": accuracy})
    training.write("train", 4, {"loss": 0.5})
    found = [(line["log"], line["step"], line.get("accuracy")) for line in lines_of(tmp_path)]
    assert found == [("train", 2, None), ("eval", 2, 0.6), ("train", 4, None)]


def test_other_workers_write_nothing(tmp_path):
    log = MetricsLog(str(tmp_path), lambda step: step, chief=False)
    log.begin(0)
    log.write("train", 2, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
