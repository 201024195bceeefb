"""Later stages need no flags that the weights already answer."""

import dataclasses
import json

import pytest
import tensorflow as tf

from tf_simclrv2 import (
    CheckpointError,
    ConfigError,
    DataConfig,
    DistillationConfig,
    ExperimentConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SimCLR,
    TrainingConfig,
    save_module,
)
from tf_simclrv2.files import CONFIG_FILE, DESCRIPTION_FILE
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.weights.run_config import read_config

BEFORE = ExperimentConfig(
    model=ModelConfig(resnet_depth=18, image_size=16, proj_out_dim=64, num_proj_layers=2, num_classes=10),
    optimizer=OptimizerConfig(learning_rate=2.0),
    data=DataConfig(dataset="digits", eval_split="test"),
    training=TrainingConfig(train_batch_size=64, seed=3),
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("pretrained") / "module")
    network = SimCLR(BEFORE.model)
    network.build((None, 16, 16, 3))
    save_module(network, path, BEFORE)
    return path


def finetune_from(path, **model):
    return ExperimentConfig(
        model=ModelConfig(**model),
        training=TrainingConfig(train_mode="finetune"),
        run=RunConfig(checkpoint=path, model_dir="elsewhere"),
    )


def test_a_stage_takes_the_architecture_and_nothing_else(pretrained):
    asked = finetune_from(pretrained, ft_proj_selector=1)
    adopted = adopt(asked, {"checkpoint", "train_mode", "ft_proj_selector"})
    assert adopted.model.resnet_depth == 18 and adopted.model.image_size == 16
    assert adopted.model.proj_out_dim == 64 and adopted.model.num_proj_layers == 2
    assert adopted.model.ft_proj_selector == 1
    assert (adopted.data, adopted.optimizer, adopted.training) == (
        asked.data,
        asked.optimizer,
        asked.training,
    )


def test_what_the_user_said_stays(pretrained):
    adopted = adopt(finetune_from(pretrained, resnet_depth=34, image_size=24), {"resnet_depth", "image_size"})
    assert adopted.model.resnet_depth == 34 and adopted.model.image_size == 24
    assert adopted.model.num_proj_layers == 2


def test_an_evaluation_takes_everything_but_what_was_said(tmp_path):
    (tmp_path / CONFIG_FILE).write_text(BEFORE.to_json())
    run = RunConfig(mode="eval", model_dir=str(tmp_path))
    asked = ExperimentConfig(data=DataConfig(dataset="cifar10", data_dir="there"), run=run)
    adopted = adopt(asked, {"mode", "model_dir", "data_dir"})
    assert adopted == dataclasses.replace(
        BEFORE, data=dataclasses.replace(BEFORE.data, data_dir="there"), run=run
    )


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        # TFDS wrote its digits among the pictures.
        (
            {"dataset": "image_folder", "data_dir": "pictures", "labels_from": "labels.csv"},
            {"dataset": "digits"},
            {"data_dir": None, "labels_from": None},
        ),
        (
            {"dataset": "smallnorb", "data_dir": "tfds", "image_key": "image2", "label_key": "label_azimuth"},
            {"dataset": "image_folder", "data_dir": "pictures"},
            {"data_dir": "pictures", "image_key": None, "label_key": None},
        ),
        ({"dataset": "cifar10", "data_dir": "tfds"}, {"dataset": "cifar100"}, {"data_dir": "tfds"}),
        (
            {"dataset": "image_folder", "data_dir": "pool", "labeled_data_dir": "few"},
            {"dataset": "digits"},
            {"data_dir": None, "labeled_data_dir": None},
        ),
        (
            {"dataset": "image_folder", "data_dir": "pictures", "labels_from": "labels.csv"},
            {"dataset": "image_folder", "data_dir": "others"},
            {"data_dir": "others", "labels_from": "labels.csv"},
        ),
    ],
)
def test_an_evaluation_on_another_dataset_reads_it_its_own_way(tmp_path, before, asked, expected):
    distilled = dataclasses.replace(
        BEFORE,
        training=TrainingConfig(train_mode="distill"),
        distillation=DistillationConfig(teacher="teacher", distill_alpha=0.5),
    )
    trained = dataclasses.replace(
        distilled if "labeled_data_dir" in before else BEFORE, data=DataConfig(**before)
    )
    (tmp_path / CONFIG_FILE).write_text(trained.to_json())
    run = RunConfig(mode="eval", model_dir=str(tmp_path))
    found = adopt(ExperimentConfig(data=DataConfig(**asked), run=run), {"mode", "model_dir", *asked}).data
    assert found.dataset == asked["dataset"]
    assert {name: getattr(found, name) for name in expected} == expected


def test_an_evaluation_is_described_like_its_training(tmp_path):
    """How often checkpoints are saved is a part of the description."""
    before = dataclasses.replace(BEFORE, run=RunConfig(checkpoint_steps=7, keep_checkpoint_max=9))
    (tmp_path / CONFIG_FILE).write_text(before.to_json())
    asked = ExperimentConfig(run=RunConfig(mode="eval", model_dir=str(tmp_path)))
    assert adopt(asked, {"mode", "model_dir"}).run == dataclasses.replace(asked.run, checkpoint_steps=7)
    assert adopt(asked, {"mode", "model_dir", "checkpoint_steps"}).run == asked.run


def test_without_an_earlier_config_nothing_changes(tmp_path):
    fresh = ExperimentConfig(run=RunConfig(mode="eval", model_dir=str(tmp_path)))
    assert adopt(fresh, set()) == fresh
    assert adopt(ExperimentConfig(), set()) == ExperimentConfig()
    with pytest.raises(CheckpointError, match="no checkpoint in it"):
        adopt(finetune_from(str(tmp_path)), set())


def test_beyond_the_head_of_the_checkpoint(pretrained):
    with pytest.raises(ConfigError, match="ft_proj_selector is 3, but the nonlinear projection head has 2"):
        adopt(finetune_from(pretrained, ft_proj_selector=3), {"ft_proj_selector"})


SEEN = dataclasses.replace(BEFORE, data=DataConfig(dataset="digits", background="black"))


def run_at(path, image_size=16, run=SEEN):
    """A model_dir as far as adoption looks at it: a config, and a checkpoint of nothing."""
    path.mkdir(exist_ok=True)
    model = dataclasses.replace(BEFORE.model, image_size=image_size)
    (path / CONFIG_FILE).write_text(dataclasses.replace(run, model=model).to_json())
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(path / "ckpt"))
    return str(path)


def test_a_run_that_has_begun_needs_its_checkpoint_no_more(tmp_path):
    own = run_at(tmp_path / "run")
    asked = dataclasses.replace(finetune_from("gone"), run=RunConfig(checkpoint="gone", model_dir=own))
    adopted = adopt(asked, {"checkpoint", "model_dir", "train_mode"})
    assert adopted.model == dataclasses.replace(
        asked.model, resnet_depth=18, proj_out_dim=64, num_proj_layers=2, image_size=16
    )
    assert adopted.data.background == "black"
    with pytest.raises(CheckpointError, match="gone"):
        adopt(finetune_from("gone"), set())


def distill_from(teacher, model_dir="elsewhere", checkpoint=None, **model):
    return ExperimentConfig(
        model=ModelConfig(**model),
        distillation=DistillationConfig(teacher=teacher),
        training=TrainingConfig(train_mode="distill"),
        run=RunConfig(checkpoint=checkpoint, model_dir=str(model_dir)),
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return run_at(tmp_path_factory.mktemp("teacher"))


def test_a_student_sees_images_as_its_teacher_does_and_is_otherwise_its_own(teacher):
    lines, asked = [], distill_from(teacher, resnet_depth=34)
    adopted = adopt(asked, {"teacher", "train_mode", "resnet_depth", "model_dir"}, lines.append)
    assert adopted.model == dataclasses.replace(asked.model, image_size=16)
    assert adopted.data == dataclasses.replace(asked.data, background="black")
    assert lines == [f"image_size 16, background black: from {teacher}"]


def test_a_stage_says_what_it_took_from_its_checkpoint(teacher):
    lines = []
    adopted = adopt(finetune_from(teacher), {"checkpoint", "train_mode"}, lines.append)
    assert adopted.data.background == "black"
    assert lines == [
        "resnet_depth 18, num_proj_layers 2, proj_out_dim 64, image_size 16, background black: "
        f"from {teacher}"
    ]


def test_what_the_user_said_stays_and_the_difference_is_named(teacher):
    lines, explicit = [], {"teacher", "train_mode", "image_size", "background"}
    adopted = adopt(distill_from(teacher, image_size=64), explicit, lines.append)
    assert (adopted.model.image_size, adopted.data.background) == (64, "white")
    assert lines == [
        f"image_size 64, background white: unlike {teacher}, which has image_size 16, background black"
    ]


@pytest.mark.parametrize("name", ["ckpt-1.index", "config.json", "ckpt-9"])
def test_a_teacher_that_cannot_be_loaded_gives_nothing(teacher, name):
    lines = []
    with pytest.raises(CheckpointError, match="teacher is "):
        adopt(distill_from(f"{teacher}/{name}"), say=lines.append)
    assert not lines


def test_a_student_that_starts_from_a_checkpoint_sees_images_as_that_does(teacher, tmp_path):
    white = dataclasses.replace(SEEN, data=BEFORE.data)
    checkpoint = run_at(tmp_path / "checkpoint", 32, white)
    lines = []
    adopted = adopt(distill_from(teacher, checkpoint=checkpoint), say=lines.append)
    assert (adopted.model.image_size, adopted.data.background) == (32, "white")
    assert lines[0].endswith(f"image_size 32, background white: from {checkpoint}")
    assert lines[1].startswith(f"image_size 32, background white: unlike {teacher}, which has image_size 16")


def test_a_distillation_that_began_goes_on_at_its_size(teacher, tmp_path):
    begun = distill_from(teacher, tmp_path, image_size=224)
    (tmp_path / CONFIG_FILE).write_text(begun.to_json())
    explicit = {"teacher", "train_mode", "model_dir"}
    assert adopt(distill_from(teacher, tmp_path), explicit).model.image_size == 16  # Nothing was trained.
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(tmp_path / "ckpt"))
    assert adopt(distill_from(teacher, tmp_path), explicit).model.image_size == 224


@pytest.mark.parametrize(("trained_at", "asked", "limit"), [(16, 64, "at most 32"), (48, 32, "at least 33")])
def test_an_image_size_that_the_checkpoint_has_no_stem_for(tmp_path, trained_at, asked, limit):
    path = run_at(tmp_path / "run", trained_at)
    with pytest.raises(ConfigError) as refused:
        adopt(finetune_from(path, image_size=asked), {"image_size"})
    assert str(refused.value) == (
        f"image_size is {asked}, but checkpoint {path!r} was trained at {trained_at} and has another stem; "
        f"use {limit}, or leave it out."
    )


def test_of_a_module_that_does_not_name_its_run_the_image_size_is_known(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps({"model": {"image_size": 16}, "run": None}))
    path, lines = str(tmp_path), []
    assert adopt(distill_from(path), say=lines.append).model.image_size == 16
    assert lines == [f"image_size 16: from {path}"]


def test_in_a_program_of_ones_own_what_differs_from_its_default_was_said(teacher):
    adopted = adopt(finetune_from(teacher, proj_out_dim=32))
    assert (adopted.model.proj_out_dim, adopted.model.num_proj_layers) == (32, 2)
    assert adopted.data.background == "black"


def test_config_travels_with_the_module(pretrained):
    assert read_config(pretrained) == BEFORE
