"""Later stages need no flags that the weights already answer."""

import dataclasses

import pytest

from tf_simclrv2 import (
    CheckpointError,
    ConfigError,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SimCLR,
    TrainingConfig,
    save_module,
)
from tf_simclrv2.files import CONFIG_FILE
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.weights.run_config import read_config

BEFORE = ExperimentConfig(
    model=ModelConfig(resnet_depth=18, image_size=16, proj_out_dim=64, num_proj_layers=2, num_classes=10),
    optimizer=OptimizerConfig(learning_rate=2.0),
    data=DataConfig(dataset="digits", eval_split="test"),
    training=TrainingConfig(train_batch_size=64, seed=3),
)


@pytest.fixture
def pretrained(tmp_path):
    network = SimCLR(BEFORE.model)
    network.build((None, 16, 16, 3))
    save_module(network, str(tmp_path / "module"), BEFORE)
    return str(tmp_path / "module")


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


def test_without_an_earlier_config_nothing_changes(tmp_path):
    fresh = ExperimentConfig(run=RunConfig(mode="eval", model_dir=str(tmp_path)))
    assert adopt(fresh, set()) == fresh
    assert adopt(ExperimentConfig(), set()) == ExperimentConfig()
    with pytest.raises(CheckpointError, match="no checkpoint in it"):
        adopt(finetune_from(str(tmp_path)), set())


def test_beyond_the_head_of_the_checkpoint(pretrained):
    with pytest.raises(ConfigError, match="ft_proj_selector is 3, but the nonlinear projection head has 2"):
        adopt(finetune_from(pretrained, ft_proj_selector=3), {"ft_proj_selector"})


def test_config_travels_with_the_module(pretrained):
    assert read_config(pretrained) == BEFORE
