"""Teachers from everything that a network is saved as."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import ConfigError, ExperimentConfig, ModelConfig, SimCLR, UserError, save_module
from tf_simclrv2.training.teacher import load_teacher


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    directory = tmp_path_factory.mktemp("teacher")
    config = config_for(
        directory,
        train_mode="supervised",
        labels_per_class=3,
        train_split="train[:300]",
        keep_hub_module_max=1,
    )
    _, lines, run = execute(config)
    return directory, run.task.network, lines


def test_the_supervised_baseline_trains_on_the_subset(finetuned):
    *_, lines = finetuned
    assert lines[0] == "supervised on digits/train[:300] (3 labels per class): 30 images in 10 classes"


@pytest.mark.parametrize("kind", [".", "ckpt-4", "saved_model/4"])
def test_three_kinds_of_paths(finetuned, kind):
    directory, network, _ = finetuned
    teacher = load_teacher(str(directory / kind))
    assert teacher.num_classes == 10
    images = tf.constant(image(3, 8, 3, 2))
    expected = network(images, training=False)["logits_sup"]
    np.testing.assert_allclose(teacher.predict(images), expected, rtol=1e-4, atol=1e-5)


def test_a_published_module_teaches(tmp_path):
    """The published modules take `trainable` and give `logits_sup` among their outputs."""

    class Published(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([], tf.bool)])
        def __call__(self, inputs, trainable):
            pooled = tf.reduce_mean(inputs, axis=[1, 2])
            return {"final_avg_pool": pooled, "logits_sup": pooled * (2.0 - tf.cast(trainable, tf.float32))}

    tf.saved_model.save(Published(), str(tmp_path / "hub"))
    teacher = load_teacher(str(tmp_path / "hub"))
    images = tf.constant(image(2, 8, 3, 2))
    assert teacher.num_classes == 3
    np.testing.assert_allclose(teacher.predict(images), 2 * tf.reduce_mean(images, [1, 2]), rtol=1e-6)


def test_distilling_leaves_a_student_and_the_teacher_as_it_was(finetuned, tmp_path):
    directory, *_ = finetuned
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    result, lines, run = execute(
        config_for(
            tmp_path, train_mode="distill", teacher=str(directory), train_steps=2, distill_temperature=0.1
        )
    )
    assert "eval/label_top_1_accuracy" in result
    assert np.isfinite(result["train/distillation_loss"])
    assert "distill on digits/train[:40]: 40 images" in lines
    assert "proj_head_1" not in run.task.network(tf.zeros([1, 8, 8, 3]))
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_a_student_is_evaluated_without_its_teacher(finetuned, tmp_path):
    teacher = tmp_path / "teacher"
    shutil.copytree(finetuned[0], teacher)
    settings = {"train_mode": "distill", "teacher": str(teacher), "train_steps": 2}
    trained, *_ = execute(config_for(tmp_path / "student", **settings))
    shutil.rmtree(teacher)
    evaluated, *_ = execute(config_for(tmp_path / "student", **settings, mode="eval"))
    assert evaluated["eval/label_top_1_accuracy"] == trained["eval/label_top_1_accuracy"]


def bad_teachers(directory):
    no_head = ModelConfig(resnet_depth=18, image_size=8, num_classes=0)
    three = ModelConfig(resnet_depth=18, image_size=8, num_classes=3)
    for name, model in (("no_head", no_head), ("three", three)):
        network = SimCLR(model)
        network.build((None, 8, 8, 3))
        save_module(network, str(directory / name), ExperimentConfig(model=model))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("nothing", "teacher is .*which does not exist"),
        ("no_head", "it has no classifier"),
        ("three", "the teacher has 3 classes, but digits/train.* has 10"),
    ],
)
def test_bad_teachers(tmp_path, teacher, message):
    bad_teachers(tmp_path)
    config = config_for(tmp_path / "run", train_mode="distill", teacher=str(tmp_path / teacher))
    with pytest.raises(UserError, match=message):
        execute(config)
    assert not (tmp_path / "run").exists()


def test_distillation_needs_a_teacher(tmp_path):
    with pytest.raises(ConfigError, match="teacher is not set"):
        config_for(tmp_path, train_mode="distill")
