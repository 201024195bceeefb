"""Parameters are grouped by what they are, which is what the published regular expression meant."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights, load
from tf_simclrv2.config import ModelConfig, OptimizerConfig
from tf_simclrv2.models import SimCLR
from tf_simclrv2.optimization import (
    LARS,
    build_optimizer,
    describe_groups,
    exclude_from_lars,
    parameter_groups,
    weight_decay_loss,
)
from tf_simclrv2.weights.published_names import published_names

MODELS = {
    **load("configs"),
    "linear_head": {"resnet_depth": 18, "image_size": 32, "proj_head_mode": "linear"},
    "no_classes": {"resnet_depth": 18, "image_size": 32, "num_classes": 0},
    "frozen": {"resnet_depth": 18, "image_size": 32, "fine_tune_after_block": 3},
    "truncated": {
        "resnet_depth": 50,
        "se_ratio": 0.25,
        "image_size": 32,
        "ft_proj_selector": 1,
        "truncate_proj_head": True,
    },
}


def _published_group(name: str) -> str:
    """The group of a published name by the patterns of the published code, most specific first."""
    for pattern, group in (
        ("head_supervised", "supervised_head"),
        ("batch_normalization", "batch_norm"),
        ("bias", "bias"),
    ):
        if re.search(pattern, name):
            return group
    return "kernel"


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("model", MODELS)
def test_groups_are_those_of_the_published_names(model: str) -> None:
    network = SimCLR(ModelConfig(**{"num_classes": 10, **MODELS[model]}))
    network.build((None, 64, 64, 3))
    names = {id(variable): name for name, variable in published_names(network).items()}
    groups = parameter_groups(network)
    grouped = [names[id(v)] for group in groups.values() for v in group]
    assert sorted(grouped) == sorted(names[id(v)] for v in network.trainable_variables)
    for kind, group in groups.items():
        assert {_published_group(names[id(v)]) for v in group} <= {kind}
    excluded = {name for name in grouped if re.search("batch_normalization|bias|head_supervised", name)}
    assert set(grouped) - excluded == {names[id(v)] for v in groups["kernel"]}
    assert bool(groups["bias"]) == ("se_ratio" in MODELS[model])
    assert bool(groups["supervised_head"]) == (model != "no_classes")


def test_only_kernels_are_decayed_and_adapted() -> None:
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=8, num_classes=3, se_ratio=0.25))
    network.build((None, 8, 8, 3))
    assign_published_weights(network)
    groups = parameter_groups(network)
    optimizer = LARS(1.0, momentum=0.0, weight_decay=1e-2)
    exclude_from_lars(optimizer, groups)
    before = {id(v): np.array(v, np.float64) for v in network.trainable_variables}
    optimizer.apply([tf.ones(v.shape) for v in network.trainable_variables], network.trainable_variables)
    for kind, group in groups.items():
        for variable in group:
            weight = before[id(variable)]
            step = weight - np.asarray(variable, np.float64)
            expected = np.ones_like(weight)
            if kind == "kernel":
                expected += 1e-2 * weight
                expected *= 1e-3 * np.linalg.norm(weight) / np.linalg.norm(expected)
            np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-6, err_msg=kind)


@pytest.mark.parametrize("run", ["lars", "momentum", "adam"])
def test_weight_decay_term_is_the_published_one(run: str) -> None:
    golden = load("train_steps")["runs"][run]
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=32, num_classes=10), dtype="float64")
    network.build((None, 32, 32, 3))
    assign_published_weights(network)
    flags = golden["flags"]
    with tf.GradientTape() as tape:
        term = weight_decay_loss(parameter_groups(network), flags["weight_decay"], by_lars=run == "lars")
    assert float(term) == pytest.approx(golden["steps"]["float64"][0]["weight_decay"], rel=1e-9)
    kernel, gamma = network.supervised_head.kernel, network.projection_head.norms[0].gamma
    by_kernel, by_gamma = tape.gradient(term, [kernel.value, gamma.value])
    np.testing.assert_allclose(by_kernel, flags["weight_decay"] * np.asarray(kernel), rtol=1e-12)
    assert by_gamma is None


def test_weight_decay_without_anything_to_decay() -> None:
    assert float(weight_decay_loss({"supervised_head": []}, 1e-4, by_lars=True)) == 0.0


@pytest.mark.usefixtures("shapes_only")
def test_description_counts_and_tells_the_treatment() -> None:
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=32, num_classes=10))
    network.build((None, 32, 32, 3))
    groups = parameter_groups(network)
    lars, momentum = (describe_groups(groups, name).splitlines() for name in ("lars", "momentum"))
    assert [line.split()[0] for line in lars] == ["kernel", "batch_norm", "supervised_head"]
    assert "24 variables" in lars[0]
    assert "decayed and adapted by LARS" in lars[0]
    assert "47 variables" in lars[1]
    assert "neither decayed nor adapted" in lars[1]
    assert "5,130 parameters" in lars[2]
    assert "kernel decayed in the loss" in lars[2]
    assert [line.split("parameters")[1].strip() for line in momentum] == ["decayed", "not decayed", "decayed"]


@pytest.mark.parametrize(
    "name, kind, settings",
    [
        (
            "lars",
            LARS,
            {"momentum": 0.8, "weight_decay": 0.01, "use_nesterov": False, "classic_momentum": True},
        ),
        ("momentum", keras.optimizers.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": None}),
        (
            "adam",
            keras.optimizers.Adam,
            {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": None},
        ),
    ],
)
def test_optimizers_by_name(name: str, kind: type, settings: dict) -> None:
    optimizer = build_optimizer(OptimizerConfig(optimizer=name, momentum=0.8, weight_decay=0.01), 0.5)
    assert type(optimizer) is kind
    assert settings.items() <= optimizer.get_config().items()
    assert float(optimizer.learning_rate) == 0.5
