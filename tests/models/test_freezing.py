"""What is frozen stays frozen: in parts that a layer makes later, and in a model that comes from a file."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tf_simclrv2.config import ModelConfig
from tf_simclrv2.models import ProjectionHead, ResNet, SimCLR
from tf_simclrv2.models.blocks import BottleneckBlock, ProjectionShortcut, ResidualBlock
from tf_simclrv2.models.freezing import freeze_only, frozen_paths
from tf_simclrv2.models.resnet import BlockGroup, Stem
from tf_simclrv2.models.selective_kernel import SelectiveKernel
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation
from tf_simclrv2.private_api import layers_within

CONFIG = ModelConfig(resnet_depth=18, image_size=32, num_classes=3)
CONTAINERS = {
    "stem": lambda **options: Stem(4, "resnet_d", **options),
    "shortcut": lambda **options: ProjectionShortcut(4, **options),
    "block": lambda **options: ResidualBlock(4, use_projection=True, se_ratio=0.5, **options),
    "bottleneck": lambda **options: BottleneckBlock(4, sk_ratio=0.0625, **options),
    "group": lambda **options: BlockGroup(18, 4, 2, 2, se_ratio=0.5, **options),
    "selective kernel": lambda **options: SelectiveKernel(4, **options),
    "gate": lambda **options: SqueezeExcitation(4, 0.5, **options),
    "head": lambda **options: ProjectionHead(2, 4, **options),
    "encoder": lambda **options: ResNet(18, cifar_stem=True, **options),
    "network": lambda **options: SimCLR(CONFIG, **options),
}

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_simclrv2.models.resnet.GROUP_WIDTHS", (4, 4, 4, 8))


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("created_frozen", [True, False])
def test_a_frozen_layer_has_frozen_parts(kind: str, created_frozen: bool) -> None:
    """Created frozen, or frozen and made again from its config."""
    layer = CONTAINERS[kind](trainable=not created_frozen)
    layer.trainable = False
    again = layer if created_frozen else type(layer).from_config(layer.get_config())
    shape = (None, 4) if kind == "head" else (None, 8, 8, 3 if kind in ("stem", "encoder", "network") else 4)
    again.build(shape)
    assert not any(part.trainable for part in layers_within(again))
    assert again.variables and not any(variable.trainable for variable in again.variables)


def test_a_frozen_encoder_within_another_model_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    inputs = keras.Input((16, 16, 3))
    encoder = ResNet(18, cifar_stem=True, name="encoder")
    encoder.trainable = False
    outputs = keras.layers.Dense(2)(encoder(inputs)["final_avg_pool"])
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 2
    statistics = [np.array(variable) for variable in loaded.get_layer("encoder").variables]
    loaded(image(4, 16, 3, seed=1), training=True)
    for variable, before in zip(loaded.get_layer("encoder").variables, statistics, strict=True):
        np.testing.assert_array_equal(variable, before, err_msg=variable.path)


@pytest.mark.parametrize("built", [False, True])
def test_single_layers_stay_frozen_in_a_file(built: bool, tmp_path: pathlib.Path) -> None:
    network = SimCLR(CONFIG)
    network.resnet.stem.convs[0].trainable = False
    network.resnet.block_groups[1].trainable = False
    want = {"resnet/stem/conv_1", "resnet/block_group2", "resnet/block_group2/block_1/shortcut/norm"}
    if built:
        network.build((None, 32, 32, 3))
        network.projection_head.denses[1].trainable = False  # A layer that building makes.
        want |= {"projection_head/dense_2"}
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert want <= set(frozen_paths(loaded)) == set(frozen_paths(network))
    if not built:
        loaded.build((None, 32, 32, 3))
    thawed = {variable.path for variable in loaded.trainable_variables}
    paths = {v.path.partition("/")[2] for v in loaded.variables if v.path not in thawed}
    kernels = {path.removesuffix("/kernel") for path in paths if path.endswith("/kernel")}
    groups = {path for path in kernels if path.startswith("resnet/block_group2/block_")}
    assert len(groups) == 5 and kernels - groups == want & {"resnet/stem/conv_1", "projection_head/dense_2"}


def test_what_a_config_freezes_may_be_thawed_in_a_file(tmp_path: pathlib.Path) -> None:
    encoder = ResNet(18, cifar_stem=True, fine_tune_after_block=1)
    encoder.stem.trainable = True
    encoder(tf.zeros([1, 8, 8, 3]))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert loaded.stem.trainable and not loaded.block_groups[0].trainable
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)


def test_a_file_of_an_earlier_version_names_no_frozen_layers() -> None:
    config = ResNet(18, cifar_stem=True, fine_tune_after_block=1).get_config()
    del config["frozen_layers"]
    again = ResNet.from_config(config)
    layers = (again.stem, *again.block_groups)
    assert [layer.trainable for layer in layers] == [False, False, True, True, True]


def test_only_the_named_layers_are_frozen() -> None:
    outer = keras.Sequential([keras.Sequential([keras.layers.Dense(1, name="a")], name="in")], name="out")
    freeze_only(outer, ["in", "absent"])
    assert frozen_paths(outer) == ["in"]
    freeze_only(outer, ["in/a"])
    assert frozen_paths(outer) == ["in/a"]
    freeze_only(outer, [])
    assert frozen_paths(outer) == []


def test_a_config_that_makes_a_network_is_not_changed() -> None:
    config = SimCLR(CONFIG).get_config()
    for _ in range(2):
        assert SimCLR.from_config(config).config == CONFIG
