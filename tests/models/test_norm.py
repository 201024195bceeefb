"""The settings of batch norm reach every layer, and come back from a config."""

from __future__ import annotations

import json

import pytest

from tf_simclrv2.config import ModelConfig
from tf_simclrv2.models import Norm, ResNet, SimCLR
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.private_api import layers_within

NORM = Norm(global_bn=False, momentum=0.7)


def _batch_norms(network: SimCLR) -> list[BatchNormRelu]:
    return [layer for layer in layers_within(network) if isinstance(layer, BatchNormRelu)]


@pytest.mark.parametrize("options", [{"resnet_depth": 18}, {"resnet_depth": 50, "sk_ratio": 0.0625}])
def test_every_layer_of_a_network_has_the_settings(options: dict) -> None:
    config = ModelConfig(**options, image_size=32, global_bn=False, batch_norm_decay=0.7)
    norms = _batch_norms(SimCLR(config))
    assert len(norms) > 20
    assert {(norm.global_bn, norm.momentum) for norm in norms} == {(False, 0.7)}


def test_a_saved_config_is_plain_and_gives_the_settings_back() -> None:
    config = json.loads(json.dumps(ResNet(18, batch_norm=NORM).get_config()["batch_norm"]))
    assert config == {"global_bn": False, "momentum": 0.7}
    assert Norm.get(config) == NORM
    assert Norm.get(None) == Norm()
    assert ResNet(18, batch_norm=config).batch_norm == NORM


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="axis"):
        Norm.get({"axis": 3})
