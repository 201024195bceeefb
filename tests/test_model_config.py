"""Impossible architectures are refused in a sentence that names the cure."""

from __future__ import annotations

import dataclasses

import pytest

from tf_simclrv2.config import ExperimentConfig, ModelConfig, TrainingConfig
from tf_simclrv2.errors import ConfigError


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resnet_depth": 77}, "resnet_depth is 77; choose one of 18, 34, 50, 101, 152, 200."),
        ({"width_multiplier": 0}, "width_multiplier is 0; it must be a finite number of at least 1."),
        ({"sk_ratio": 2.0}, "sk_ratio is 2.0; it must be between 0 (off) and 1."),
        ({"sk_ratio": -0.1}, "sk_ratio is -0.1"),
        ({"sk_ratio": float("nan")}, "sk_ratio is nan"),
        ({"se_ratio": 1.5}, "se_ratio is 1.5; it must be between 0 (off) and 1."),
        ({"image_size": 4}, "image_size is 4"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"proj_head_mode": "mlp"}, "proj_head_mode is 'mlp'; choose one of none, linear, nonlinear."),
        ({"num_proj_layers": 0}, "num_proj_layers is 0"),
        ({"proj_out_dim": 0}, "proj_out_dim is 0"),
        (
            {"ft_proj_selector": 4},
            "ft_proj_selector is 4, but the nonlinear projection head has 3 layer(s); choose 0 to 3, or -1",
        ),
        ({"ft_proj_selector": 2, "proj_head_mode": "linear"}, "linear projection head has 1 layer(s)"),
        ({"ft_proj_selector": 1, "proj_head_mode": "none"}, "none projection head has 0 layer(s)"),
        ({"ft_proj_selector": -2}, "ft_proj_selector is -2"),
        ({"fine_tune_after_block": 5}, "fine_tune_after_block is 5; choose one of -1, 0, 1, 2, 3, 4."),
        ({"batch_norm_decay": 1.0}, "batch_norm_decay is 1.0; it must be at least 0 and below 1."),
    ],
)
def test_impossible_values(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ModelConfig(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options, field",
    [
        ({"fine_tune_after_block": 4}, "fine_tune_after_block"),
        ({"truncate_proj_head": True}, "truncate_proj_head"),
    ],
)
def test_fine_tuning_settings_do_not_pretrain(options: dict, field: str) -> None:
    model = ModelConfig(**options)
    with pytest.raises(ConfigError, match=field):
        ExperimentConfig(model=model)
    assert ExperimentConfig(model=model, training=TrainingConfig(train_mode="finetune")).model == model


@pytest.mark.parametrize(
    "mode, layers, selector, truncate, expected",
    [
        ("none", 3, 0, False, (0, 0, 0)),
        ("linear", 3, -1, False, (1, 1, 1)),
        ("nonlinear", 3, 0, True, (3, 0, 0)),
        ("nonlinear", 3, 1, True, (3, 1, 1)),
        ("nonlinear", 3, 1, False, (3, 1, 3)),
        ("nonlinear", 2, -1, True, (2, 2, 2)),
    ],
)
def test_layers_of_the_head(mode: str, layers: int, selector: int, truncate: bool, expected: tuple) -> None:
    config = ModelConfig(
        proj_head_mode=mode, num_proj_layers=layers, ft_proj_selector=selector, truncate_proj_head=truncate
    )
    assert (config.num_head_layers, config.classifier_layer, config.num_used_head_layers) == expected


@pytest.mark.parametrize("size, expected", [(32, True), (33, False), (224, False)])
def test_small_images_take_the_cifar_stem(size: int, expected: bool) -> None:
    assert ModelConfig(image_size=size).cifar_stem == expected


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().resnet_depth = 18  # type: ignore[misc]
