"""The encoder: sizes of the paper, endpoints, initial values, and frozen parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights, image, load, published_variables
from tf_simclrv2.config import ModelConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.models import ResNet, SimCLR
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.private_api import layers_within

# Table 1 of SimCLRv2: depth, width, selective kernels, trainable parameters of the encoder.
PAPER_SIZES = [
    (50, 1, False, 23_508_032),
    (50, 1, True, 35_215_584),
    (50, 2, False, 93_907_072),
    (50, 2, True, 140_306_048),
    (101, 1, False, 42_500_160),
    (101, 1, True, 64_662_304),
    (101, 2, False, 169_771_136),
    (101, 2, True, 257_132_224),
    (152, 1, False, 58_143_808),
    (152, 1, True, 88_940_896),
    (152, 2, False, 232_253_568),
    (152, 2, True, 353_398_528),
    (152, 3, True, 794_704_160),
]


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("depth, width, selective, parameters", PAPER_SIZES)
def test_encoder_has_the_papers_size(depth: int, width: int, selective: bool, parameters: int) -> None:
    encoder = ResNet(depth, width, sk_ratio=0.0625 if selective else 0.0)
    encoder.build((None, 224, 224, 3))
    assert sum(math.prod(v.shape) for v in encoder.trainable_variables) == parameters
    assert encoder.features == 2048 * width


@pytest.mark.parametrize("depth, blocks", [(18, 8), (34, 16), (50, 16), (101, 33), (152, 50), (200, 66)])
def test_every_depth_has_its_blocks(depth: int, blocks: int) -> None:
    encoder = ResNet(depth)
    assert sum(len(group.blocks) for group in encoder.block_groups) == blocks
    for group in encoder.block_groups:
        assert [block.shortcut is not None for block in group.blocks] == [True] + [False] * (
            len(group.blocks) - 1
        )


@pytest.mark.parametrize("depth", [0, 20, 77])
def test_unknown_depth(depth: int) -> None:
    with pytest.raises(ConfigError, match=f"depth is {depth}; choose one of 18, 34"):
        ResNet(depth)


@pytest.mark.parametrize("block", [-2, 5])
def test_unknown_block(block: int) -> None:
    with pytest.raises(ConfigError, match=f"fine_tune_after_block is {block}; choose one of -1 to 4"):
        ResNet(18, fine_tune_after_block=block)


@pytest.mark.parametrize(
    "cifar_stem, sk_ratio, sides",
    [
        (True, 0.0, (33, 33, 33, 17, 9, 5)),
        (True, 0.1, (33, 33, 33, 17, 9, 5)),
        (False, 0.0, (17, 9, 9, 5, 3, 2)),
    ],
)
def test_endpoint_shapes_of_any_batch_and_image_size(cifar_stem: bool, sk_ratio: float, sides: tuple) -> None:
    encoder = ResNet(18, cifar_stem=cifar_stem, sk_ratio=sk_ratio)
    for batch, (height, width) in ((1, (33, 33)), (3, (33, 33)), (2, (40, 16))):
        endpoints = encoder(tf.zeros([batch, height, width, 3]))
        names = ["initial_conv", "initial_max_pool", *(f"block_group{i}" for i in range(1, 5))]
        assert list(endpoints) == [*names, "final_avg_pool"]
        assert endpoints["final_avg_pool"].shape == (batch, 512)
        if height == width:
            channels = (64, 64, 64, 128, 256, 512)
            for name, side, width_ in zip(names, sides, channels, strict=True):
                assert endpoints[name].shape == (batch, side, side, width_)


def test_initial_values() -> None:
    encoder = ResNet(18, cifar_stem=True)
    encoder.build((None, 32, 32, 3))
    norms = [layer for layer in layers_within(encoder) if isinstance(layer, BatchNormRelu)]
    last = {id(block.branch[-1]) for group in encoder.block_groups for block in group.blocks}
    assert len(norms) == 21
    for norm in norms:
        np.testing.assert_array_equal(norm.gamma, np.full(norm.gamma.shape, 0.0 if id(norm) in last else 1.0))
        np.testing.assert_array_equal(norm.moving_variance, np.ones(norm.gamma.shape))
    assert len(last) == 8


def _frozen_prefixes(block: int) -> tuple[str, ...]:
    """Published names of what `fine_tune_after_block` freezes begin with these.

    With 4 the classifier alone is trained: the head is frozen too, which the published TF2 program trains.
    """
    stem = ("resnet/conv2d_fixed_padding/", "resnet/batch_norm_relu/") if block >= 0 else ()
    groups = tuple(f"resnet/block_group{i}/" for i in range(1, block + 1))
    return stem + groups + (("projection_head/",) if block == 4 else ())


@pytest.mark.parametrize("block", [-1, 0, 1, 2, 3, 4])
def test_frozen_part_stays_as_it_is(block: int) -> None:
    frozen = _frozen_prefixes(block)
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=32, num_classes=10, fine_tune_after_block=block))
    network.build((None, 8, 8, 3))
    variables = assign_published_weights(network)
    published = published_variables("r18_32px")
    expected = {name for name, _, trainable in published if trainable and not name.startswith(frozen)}
    assert {name for name, variable in variables.items() if variable.trainable} == expected
    assert len(network.trainable_variables) == len(expected)
    if block == 2:
        assert len(expected) == load("train_steps")["runs"]["finetune_after_block2"]["trainable_variables"]

    before = {name: np.array(variable) for name, variable in variables.items()}
    images = image(4, 8, 3, seed=1)
    at_rest = network(images)
    with tf.GradientTape() as tape:
        tape.watch([variable.value for variable in variables.values()])
        endpoints = network(images, training=True)
        objective = tf.reduce_sum(endpoints["logits_sup"] ** 2) + tf.reduce_sum(
            endpoints["proj_head_output"] * tf.random.normal([4, 128])
        )
    gradients = tape.gradient(objective, {name: variable.value for name, variable in variables.items()})

    for name, variable in variables.items():
        moving = name.endswith(("moving_mean", "moving_variance"))
        moved = np.any(np.array(variable) != before[name])
        assert moved == (moving and not name.startswith(frozen)), name
        if not moving:
            cut_off = name.startswith(frozen) and name.startswith("resnet/")  # No gradient goes that far.
            assert (gradients[name] is None) == cut_off, name
    groups = ["initial_max_pool", *(f"block_group{i}" for i in range(1, 5))]
    for i, name in enumerate(groups):
        same = np.array_equal(endpoints[name], at_rest[name])
        assert same == (i <= block), name


@pytest.mark.parametrize("block", [1, 3, 4])
def test_the_gates_of_frozen_blocks_are_frozen(block: int) -> None:
    config = ModelConfig(
        resnet_depth=18, image_size=32, num_classes=10, se_ratio=0.25, fine_tune_after_block=block
    )
    network = SimCLR(config)
    network.build((None, 8, 8, 3))
    groups = tuple(f"/block_group{i}/" for i in range(1, block + 1))
    gates = {v.path for v in network.variables if "/se/" in v.path}
    frozen = {path for path in gates if any(group in path for group in groups)}
    assert len(frozen) == block * len(gates) / 4 > 0
    assert gates & {v.path for v in network.trainable_variables} == gates - frozen
