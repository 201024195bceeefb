"""Directories with names that TensorFlow would take for patterns, and others that people give."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tests.training.small_runs import config_for, execute
from tf_simclrv2.export.trained_network import load_trained_network
from tf_simclrv2.export.verification import verify_module
from tf_simclrv2.modules.hub_layer import HubLayer
from tf_simclrv2.report.run_record import read_run
from tf_simclrv2.training.model_dir.checkpoint_manager import SafeCheckpointManager
from tf_simclrv2.training.model_dir.verified_checkpoints import set_aside_damaged, survey_checkpoints
from tf_simclrv2.training.run import Run
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.weights.checkpoint_reader import KEY_SUFFIX, CheckpointReader, find_prefix

# Of each pair the second is another directory, which the first would match as a pattern.
PATTERNS = {"x[1]": "x1", "x*": "xyz", "x?": "xy", "x\\y": "xy", "x[!a]y": "xby"}
OTHERS = [
    "x[",
    "x]",
    "a b",
    "#1",
    "~",
    "~x",
    "new\nline",
    "tab\t",
    "100%",
    "a,b",
    "a:b",
    "{a,b}",
    "'\"",
    "ü",
    "-x",
]
ALL_AT_ONCE = "lr=[0.1] *?\\#~\n'\"{a,b}, ü"
SUPERVISED = {"train_mode": "supervised", "keep_checkpoint_max": 1}


def train(directory, steps, keep=2):
    """Saves a number at each step, as a run does; the manager."""
    number, step = tf.Variable(0.0), tf.Variable(0, dtype=tf.int64)
    survey = survey_checkpoints(str(directory))
    set_aside_damaged(str(directory), survey, print)
    checkpoint = tf.train.Checkpoint(number=number, step=step)
    manager = SafeCheckpointManager(checkpoint, str(directory), keep, step, interval=1, resume=survey.whole)
    manager.restore_or_initialize()
    while step < steps:
        step.assign_add(1)
        number.assign_add(0.5)
        manager.save()
    return manager


def steps_in(directory):
    return sorted(int(path.stem.split("-")[1]) for path in directory.iterdir() if path.suffix == ".index")


@pytest.mark.parametrize("name", [*PATTERNS, *OTHERS])
def test_checkpoints_are_saved_pruned_found_and_resumed(tmp_path, name):
    directory = tmp_path / name
    directory.mkdir()
    train(directory, 3)
    assert steps_in(directory) == [2, 3]
    train(directory, 4)
    assert steps_in(directory) == [3, 4]
    prefix = find_prefix(str(directory))
    assert prefix == str(directory / "ckpt-4")
    assert CheckpointReader(prefix).tensor("number" + KEY_SUFFIX) == 2.0


def test_checkpoints_are_found_without_the_state_file(tmp_path):
    """As where a user copied the files `ckpt-*` alone, or an older state file over them."""
    train(tmp_path, 3)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n')
    assert find_prefix(str(tmp_path)) == str(tmp_path / "ckpt-3")
    (tmp_path / "checkpoint").unlink()
    assert find_prefix(str(tmp_path)) == str(tmp_path / "ckpt-3")


@pytest.mark.parametrize("name", PATTERNS)
def test_no_file_of_another_directory_is_touched(tmp_path, name):
    directory, other = tmp_path / name, tmp_path / PATTERNS[name]
    for path in (other, directory):
        path.mkdir()
        train(path, 2, keep=5)
    before = {path: path.read_bytes() for path in other.iterdir()}
    train(directory, 4, keep=1)
    assert {path: path.read_bytes() for path in other.iterdir()} == before
    assert steps_in(directory) == [4]


def test_a_checkpoint_with_brackets_in_its_own_name(tmp_path):
    tf.train.Checkpoint(number=tf.Variable(7.0)).write(str(tmp_path / "model[best].ckpt"))
    reader = CheckpointReader(find_prefix(str(tmp_path / "model[best].ckpt")))
    assert reader.tensor("number" + KEY_SUFFIX) == 7.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was interrupted, resumed, evaluated and exported; its directory, lines and network."""
    directory = tmp_path_factory.mktemp("runs") / ALL_AT_ONCE
    execute(config_for(directory, **SUPERVISED, mode="train", train_steps=2))
    _, lines, run = execute(config_for(directory, **SUPERVISED, keep_hub_module_max=1))
    return directory, lines, run.task.network


def test_a_run_resumes(run):
    directory, lines, _ = run
    assert steps_in(directory) == [4] and "resuming from step 2 of 4" in lines


def test_a_run_is_evaluated_again(run):
    directory, *_ = run
    before = json.loads((directory / "result.json").read_text())
    result, *_ = execute(config_for(directory, **SUPERVISED, mode="eval"))
    assert result["eval/label_top_1_accuracy"] == before["eval/label_top_1_accuracy"]


def test_a_run_is_fine_tuned_from(run, tmp_path):
    directory, _, network = run
    tuning = config_for(tmp_path, train_mode="finetune", checkpoint=str(directory))
    images = tf.constant(image(2, 8, 3, 5))
    expected = network(images, training=False)["final_avg_pool"]
    found = Run(tuning).task.network(images, training=False)["final_avg_pool"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [".", "ckpt-4", "saved_model/4"])
def test_a_run_is_a_teacher(run, kind):
    directory, _, network = run
    images = tf.constant(image(2, 8, 3, 5))
    expected = network(images, training=False)["logits_sup"]
    found = load_teacher(str(directory / kind)).predict(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_run_has_its_curves_in_the_report(run):
    directory, *_ = run
    curves = read_run(str(directory)).training.values()
    assert max(int(curve.steps[-1]) for curve in curves) == 4


def test_the_module_of_a_run_is_a_layer(run):
    directory, _, network = run
    images = tf.constant(image(2, 8, 3, 5))
    layer = HubLayer(str(directory / "saved_model" / "4"), endpoint="logits_sup")
    expected = network(images, training=False)["logits_sup"]
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-5)


def test_a_run_is_exported_and_its_module_checked(run):
    directory, *_ = run
    trained = load_trained_network(str(directory))
    assert trained.training["global_step"] == 4
    assert verify_module(trained.network, str(directory / "saved_model" / "4")) < 1e-5
