"""Which runs may continue in a directory."""

import dataclasses

import pytest
import tensorflow as tf

from tf_simclrv2 import (
    CheckpointError,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.training.model_dir.model_dir import SKIPPED_NAMES, ModelDir


@pytest.mark.parametrize("before, now", [(2048, 4096), (0, 2048), (2048, 0)])
def test_a_memory_of_another_size_is_another_run(tmp_path, before, now):
    old, new = (
        dataclasses.replace(ExperimentConfig(), objective=ObjectiveConfig(memory_size=size))
        for size in (before, now)
    )
    directory = ModelDir(str(tmp_path))
    directory.write_config(old, {})
    directory.refuse_other_run(new)  # Nothing has been trained yet.
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(tmp_path / "ckpt"))
    directory.refuse_other_run(old)
    with pytest.raises(CheckpointError, match=rf"--memory_size={before} \(here it is {now}\)"):
        directory.refuse_other_run(new)


def test_a_directory_elsewhere_is_tried_before_training():
    with pytest.raises(ConfigError, match=r"'nowhere://bucket/run', which cannot be written \(.+\); choose"):
        ModelDir("nowhere://bucket/run").create()


def test_the_workers_beside_the_chief_leave_nothing(tmp_path):
    directory = ModelDir(str(tmp_path / "run"), chief=False)
    directory.create()
    directory.write_config(ExperimentConfig(), {})
    directory.write_result({}, 1)
    assert directory.write_json("report.json", {}) == f"{tmp_path}/run/report.json"
    assert not (tmp_path / "run").exists()


PARTS = {
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "run": RunConfig,
}


def with_change(part: str, **change) -> ExperimentConfig:
    return dataclasses.replace(ExperimentConfig(), **{part: PARTS[part](**change)})


@pytest.fixture
def trained(tmp_path):
    """A model_dir with a config and a checkpoint."""
    directory = ModelDir(str(tmp_path))
    directory.write_config(ExperimentConfig(), {})
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(tmp_path / "ckpt"))
    return directory


@pytest.mark.parametrize(
    ("part", "name", "before", "now"),
    [
        ("model", "resnet_depth", 50, 34),
        ("model", "image_size", 224, 192),
        ("model", "batch_norm_decay", 0.9, 0.99),
        ("objective", "temperature", 0.1, 0.5),
        ("optimizer", "optimizer", "lars", "adam"),
        ("optimizer", "learning_rate", 0.3, 0.2),
        ("optimizer", "warmup_epochs", 10.0, 5.0),
        ("optimizer", "weight_decay", 1e-6, 1e-4),
        ("data", "dataset", "imagenet2012", "cifar10"),
        ("data", "train_split", "train", "train[:50%]"),
        ("data", "color_jitter_strength", 1.0, 0.5),
        ("data", "use_blur", True, False),
        ("data", "label_fraction", 1.0, 0.1),
        ("data", "label_seed", 0, 1),
        ("data", "cache_dataset", False, True),
        ("training", "train_mode", "pretrain", "supervised"),
        ("training", "train_batch_size", 512, 256),
        ("training", "seed", 0, 1),
        ("training", "precision", "float32", "mixed_bfloat16"),
    ],
)
def test_what_may_not_change_is_named_with_both_values(trained, part, name, before, now):
    with pytest.raises(CheckpointError, match=rf"--{name}=") as refused:
        trained.refuse_other_run(with_change(part, **{name: now}))
    assert f"--{name}={before} (here it is {now});" in str(refused.value)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("training", {"train_steps": 1000}),
        ("training", {"train_epochs": 800}),
        ("training", {"deterministic": True}),
        ("data", {"data_dir": "/elsewhere", "eval_split": "test", "max_skipped_fraction": 0.5}),
        ("data", {"validation_split": "train[90%:]"}),
        ("data", {"tf_data_service": "grpc://elsewhere:5050"}),
        ("evaluation", {"eval_batch_size": 8, "protocols": ("knn",)}),
        ("run", {"checkpoint_steps": 7, "keep_checkpoint_max": 2, "steps_per_loop": 3, "mode": "train"}),
    ],
)
def test_what_may_change(trained, part, change):
    trained.refuse_other_run(with_change(part, **change))


def test_an_evaluation_must_only_be_of_the_same_network(trained):
    def evaluation(**model) -> ExperimentConfig:
        config = with_change("data", dataset="cifar10", train_split="train[:50%]")
        run = RunConfig(mode="eval")
        return dataclasses.replace(config, run=run, model=ModelConfig(**model))

    trained.refuse_other_run(evaluation(image_size=192))
    with pytest.raises(CheckpointError, match=r"--resnet_depth=50 \(here it is 18\)"):
        trained.refuse_other_run(evaluation(resnet_depth=18))
    # All layers of the head are as wide, so the classifier would fit this one too.
    with pytest.raises(CheckpointError, match=r"--ft_proj_selector=0 \(here it is 1\)"):
        trained.refuse_other_run(evaluation(ft_proj_selector=1))


def test_the_names_of_skipped_images_are_bounded(tmp_path):
    directory = ModelDir(str(tmp_path))
    names = [f"{i}.png" for i in range(SKIPPED_NAMES + 2500)]
    directory.write_skipped(names[:3])
    assert (tmp_path / "skipped.txt").read_text() == "0.png\n1.png\n2.png\n"
    directory.write_skipped(names)
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert lines == [*names[:SKIPPED_NAMES], "and 2,500 more"]
