"""Weights are loaded by path, and nothing is loaded, or left out, silently."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2 import (
    LARS,
    CheckpointError,
    ExperimentConfig,
    ModelConfig,
    Pretraining,
    SimCLR,
    TrainingConfig,
)
from tf_simclrv2.files import CONFIG_FILE
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.modules.saved_model import save_module
from tf_simclrv2.training.model_dir.checkpoints import refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.weights.loading import find_weights, load_network, load_weights

MODEL = ModelConfig(resnet_depth=18, image_size=16, num_classes=10)


def network_of(**changes):
    network = SimCLR(dataclasses.replace(MODEL, **changes), name="simclr")
    network.build((None, 16, 16, 3))
    return network


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A model_dir with one checkpoint, and the values in it."""
    directory = tmp_path_factory.mktemp("pretrained")
    config = ExperimentConfig(model=MODEL, training=TrainingConfig(train_batch_size=8))
    task = Pretraining(config)
    task.compile(LARS(0.1))
    rng = np.random.default_rng(0)
    for variable in task.network.variables:
        variable.assign(rng.standard_normal(variable.shape))
    manager = tf.train.CheckpointManager(training_checkpoint(task), str(directory), max_to_keep=1)
    manager.save(7)
    (directory / CONFIG_FILE).write_text(config.to_json())
    return directory, {name: v.numpy() for name, v in named_variables(task.network).items()}, task


def assert_loaded(network, values, names):
    for name, variable in named_variables(network).items():
        if name in names:
            np.testing.assert_array_equal(variable.numpy(), values[name], err_msg=name)


def test_keys_are_paths(pretrained):
    directory, values, _ = pretrained
    keys = {name for name, _ in tf.train.list_variables(str(directory / "ckpt-7"))}
    assert {f"model/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in values} <= keys
    assert "model/resnet/stem/conv_1/kernel/.ATTRIBUTES/VARIABLE_VALUE" in keys


@pytest.mark.parametrize("kind", ["model_dir", "ckpt", "saved_model"])
def test_three_kinds_of_paths(pretrained, tmp_path, kind):
    directory, values, task = pretrained
    path = {
        "model_dir": str(directory),
        "ckpt": str(directory / "ckpt-7"),
        "saved_model": str(tmp_path / "module"),
    }
    if kind == "saved_model":
        save_module(task.network, path[kind], task.config)
    network = network_of()
    report = load_weights(network, path[kind])
    classifier = {"supervised_head/kernel", "supervised_head/bias"}
    assert set(report.loaded) == set(values) - classifier
    assert set(report.left) == classifier and not report.unused
    assert_loaded(network, values, set(values) - classifier)
    assert_loaded(load_network(find_weights(path[kind])), values, set(values))
    assert find_weights(path[kind]).model == task.config.model


def test_fine_tuning_takes_the_layers_in_use(pretrained):
    directory, values, _ = pretrained
    network = network_of(truncate_proj_head=True, ft_proj_selector=1)
    report = load_weights(network, str(directory))
    assert_loaded(network, values, set(report.loaded))
    assert {name.rsplit("/", 1)[0] for name in report.unused} == {
        f"projection_head/{layer}_{i}" for layer in ("dense", "norm") for i in (2, 3)
    }
    assert "not used by this network: projection_head/dense_2" in str(report)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_classes": 3}, "shape (512, 10) in the checkpoint, (512, 3) here"),
        ({"zero_init_logits_layer": True}, "zero_init_logits_layer"),
    ],
)
def test_a_classifier_that_stays_is_reported(pretrained, changes, reason):
    directory, values, _ = pretrained
    network = network_of(**changes)
    before = network.supervised_head.kernel.numpy()
    report = load_weights(network, str(directory))
    assert report.left["supervised_head/kernel"] == reason
    np.testing.assert_array_equal(network.supervised_head.kernel.numpy(), before)
    assert_loaded(network, values, {name for name in values if not name.startswith("supervised")})


def test_missing_classifier_is_reported(tmp_path):
    save_module(network_of(num_classes=0), str(tmp_path / "module"))
    report = load_weights(network_of(), str(tmp_path / "module"))
    assert set(report.left.values()) == {"not in the checkpoint"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resnet_depth": 34}, r"lacks .* variable.*--resnet_depth=18 \(here it is 34\)"),
        ({"width_multiplier": 2}, r"has shape .* there and .* here.*--width_multiplier=1 \(here it is 2\)"),
        ({"num_proj_layers": 4}, r"--num_proj_layers=3 \(here it is 4\)"),
        ({"proj_out_dim": 64}, r"--proj_out_dim=128 \(here it is 64\)"),
    ],
)
def test_another_architecture_is_refused_and_nothing_changes(pretrained, changes, message):
    network = network_of(**changes)
    before = [variable.numpy() for variable in network.variables]
    with pytest.raises(CheckpointError, match=message):
        load_weights(network, str(pretrained[0]))
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_head_that_ends_too_soon_is_told(tmp_path):
    save_module(network_of(truncate_proj_head=True), str(tmp_path / "module"))
    network = network_of(truncate_proj_head=True, ft_proj_selector=2)
    with pytest.raises(CheckpointError, match="its head ends before layer 2; lower --ft_proj_selector"):
        load_weights(network, str(tmp_path / "module"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "but there is no checkpoint in it"),
        ("missing", "which does not exist"),
        ("ckpt-8", "which does not"),
    ],
)
def test_no_checkpoint(tmp_path, name, problem):
    with pytest.raises(CheckpointError, match=problem):
        find_weights(str(tmp_path / name))


def test_one_file_of_a_checkpoint(pretrained):
    prefix = tf.train.latest_checkpoint(str(pretrained[0]))
    for end in ("index", "data-00000-of-00001"):
        with pytest.raises(CheckpointError) as refused:
            find_weights(f"{prefix}.{end}")
        assert str(refused.value) == (
            f"checkpoint is '{prefix}.{end}', one of the files of a checkpoint; pass {prefix!r}, which "
            "stands for all of them."
        )


def test_a_foreign_training_checkpoint_is_refused(pretrained):
    directory, _, task = pretrained
    refuse_foreign_checkpoint(training_checkpoint(task), str(directory / "ckpt-7"))
    other = Pretraining(dataclasses.replace(task.config, model=dataclasses.replace(MODEL, num_classes=0)))
    other.compile(LARS(0.1))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        refuse_foreign_checkpoint(training_checkpoint(other), str(directory / "ckpt-7"))


def test_a_damaged_checkpoint_changes_nothing(pretrained, tmp_path):
    directory, *_ = pretrained
    shutil.copytree(directory, tmp_path / "damaged")
    (data,) = (tmp_path / "damaged").glob("ckpt-7.data*")
    content = bytearray(data.read_bytes())
    content[len(content) * 3 // 5] ^= 1  # All tensors but one can still be read.
    data.write_bytes(content)
    network = network_of()
    before = [variable.numpy() for variable in network.variables]
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(network, str(tmp_path / "damaged"))
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
