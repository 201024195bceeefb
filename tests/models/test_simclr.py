"""SimCLR as a whole: its classifier, precision, and files."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights, image
from tf_simclrv2.config import ModelConfig
from tf_simclrv2.errors import ExportError
from tf_simclrv2.models import ResNet, SimCLR
from tf_simclrv2.models.norm import Norm
from tf_simclrv2.private_api import layers_within
from tf_simclrv2.weights.published_names import published_names


def _network(dtype: str = "float32", **options) -> SimCLR:
    config = {"resnet_depth": 18, "image_size": 32, "num_classes": 3, "proj_out_dim": 5, **options}
    network = SimCLR(ModelConfig(**config), dtype=dtype)
    network.build((None, 8, 8, 3))
    return network


@pytest.mark.parametrize("classes", [0, 3])
def test_classifier_is_there_if_there_are_classes(classes: int) -> None:
    network = _network(num_classes=classes)
    assert ("logits_sup" in network(tf.zeros([1, 8, 8, 3]))) == (classes > 0)
    assert any("head_supervised" in name for name in published_names(network)) == (classes > 0)


def test_classifier_starts_small_or_from_zero() -> None:
    head = _network(num_classes=100).supervised_head
    assert np.std(head.kernel) == pytest.approx(0.01, rel=0.05)
    assert not np.any(head.bias)
    network = _network(zero_init_logits_layer=True)
    assert not np.any(network(image(2, 8, 3, seed=1), training=True)["logits_sup"])


@pytest.mark.parametrize("detached", [False, True])
def test_detached_classifier_teaches_the_encoder_nothing(detached: bool) -> None:
    network = _network()
    assign_published_weights(network)
    with tf.GradientTape() as tape:
        endpoints = network(image(4, 8, 3, seed=1), training=True, classify_detached=detached)
        loss = tf.reduce_sum(endpoints["logits_sup"] ** 2)
    kernel, stem = tape.gradient(
        loss, [network.supervised_head.kernel.value, network.resnet.stem.convs[0].kernel.value]
    )
    assert kernel is not None
    assert (stem is None) == detached


def test_views_of_a_batch_are_independent_in_inference_mode() -> None:
    network = _network("float64")
    assign_published_weights(network)
    images = image(4, 8, 3, seed=1).astype(np.float64)
    together = network(images)["proj_head_output"]
    alone = np.concatenate([network(images[i : i + 1])["proj_head_output"] for i in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_computes_in_half_and_keeps_variables_in_float32(policy: str) -> None:
    network = _network(policy)
    endpoints = network(image(2, 8, 3, seed=1), training=True)
    logits = endpoints.pop("logits_sup")
    assert {x.dtype.name for x in endpoints.values()} == {network.compute_dtype}
    assert {v.dtype for v in network.variables} == {"float32"}
    head = network.supervised_head
    policies = {layer.dtype_policy.name for layer in layers_within(network) if layer is not head}
    assert policies == {policy}
    # Logits are exact products of the half-precision features.
    features = endpoints["final_avg_pool"].numpy().astype(np.float64)
    kernel, bias = (np.asarray(variable, np.float64) for variable in (head.kernel, head.bias))
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_float64_is_float64_throughout() -> None:
    network = _network("float64", sk_ratio=0.0625, se_ratio=0.25)
    endpoints = network(image(2, 8, 3, seed=1).astype(np.float64), training=True)
    assert {x.dtype for x in endpoints.values()} == {tf.float64}
    assert {v.dtype for v in network.variables} == {"float64"}


@pytest.mark.parametrize(
    "options",
    [
        {"proj_head_mode": "none", "num_classes": 0},
        {"proj_head_mode": "linear", "global_bn": False, "batch_norm_decay": 0.8},
        {"ft_proj_selector": 1, "truncate_proj_head": True, "fine_tune_after_block": 2},
        {"sk_ratio": 0.0625, "se_ratio": 0.25, "image_size": 64},
    ],
    ids=lambda options: "-".join(options),
)
def test_file_restores_the_network(tmp_path: pathlib.Path, options: dict) -> None:
    network = _network(**options)
    assign_published_weights(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.config == network.config
    assert [v.trainable for v in loaded.variables] == [v.trainable for v in network.variables]
    for training in (False, True, False):  # the last one sees the moving statistics
        images = image(3, 12, 3, seed=2)  # neither the batch nor the size that it was built or configured for
        want, got = network(images, training=training), loaded(images, training=training)
        assert set(got) == set(want)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_file_restores_an_encoder_alone(tmp_path: pathlib.Path) -> None:
    encoder = ResNet(18, cifar_stem=True, fine_tune_after_block=1, batch_norm=Norm(momentum=0.5))
    images = image(2, 16, 3, seed=3)
    encoder(images, training=True)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(images)["final_avg_pool"], encoder(images)["final_avg_pool"])
    assert loaded.get_config() == encoder.get_config()
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)


@pytest.mark.parametrize("name", ["network.h5", "network.hdf5"])
def test_a_network_is_not_saved_where_keras_cannot_load_it_from(tmp_path: pathlib.Path, name: str) -> None:
    for model in (_network(), ResNet(18, cifar_stem=True)):
        with pytest.raises(ExportError, match=r"from an HDF5 file; save it as '.*/network\.keras'"):
            model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
