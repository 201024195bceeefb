"""Features are the network's endpoints, row by row."""

from collections.abc import Callable

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tests.small_network import small_network as small_network
from tf_simclrv2 import DataConfig, EvaluationConfig, ExperimentConfig, ModelConfig, SimCLR
from tf_simclrv2.data import load_source
from tf_simclrv2.distribution import compilation
from tf_simclrv2.evaluation import FeatureExtractor, split_features
from tf_simclrv2.evaluation.split_features import split_batches
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.private_api import layers_within
from tf_simclrv2.rehearsal.refusals import graphs_of


def test_features_of_padded_batches():
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=16, num_classes=0))
    network.build((None, 16, 16, 3))
    images = image(6, 16, 3, 1)
    batches = [
        {"image": tf.constant(images[:4]), "label": tf.constant([3, 1, 2, 0]), "mask": tf.fill([4], True)},
        {
            "image": tf.constant(np.concatenate([images[4:], np.zeros_like(images[:2])])),
            "label": tf.constant([1, 2, -1, -1]),
            "mask": tf.constant([True, True, False, False]),
        },
    ]
    extract = FeatureExtractor(network, ("final_avg_pool", "proj_head_1", "raw_pixels"))
    features, labels = extract(batches, most=6)
    assert labels.tolist() == [3, 1, 2, 0, 1, 2]
    expected = network(images)
    for name in ("final_avg_pool", "proj_head_1"):
        np.testing.assert_allclose(features[name], expected[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features["raw_pixels"], images.reshape(6, -1))


@pytest.fixture
def network() -> Callable[[tf.distribute.Strategy, str], SimCLR]:
    """Makes the same network under each strategy."""

    def build(strategy: tf.distribute.Strategy, precision: str = "float32") -> SimCLR:
        keras.utils.set_random_seed(3)
        with strategy.scope():
            made = SimCLR(ModelConfig(resnet_depth=18, image_size=8), dtype=precision)
            made.build((None, 8, 8, 3))
        for norm in (layer for layer in layers_within(made) if isinstance(layer, BatchNormRelu)):
            norm.gamma.assign(tf.ones_like(norm.gamma))
        return made

    return build


CONFIG = ExperimentConfig(
    model=ModelConfig(resnet_depth=18, image_size=8), evaluation=EvaluationConfig(eval_batch_size=16)
)


def test_all_replicas_find_what_one_finds(network: Callable, strategy: Callable) -> None:
    """45 images are no multiple of a batch, nor of a replica's part of it."""
    source = load_source(DataConfig(dataset="digits"), "train[:45]")
    alone = FeatureExtractor(network(strategy(1)), ["final_avg_pool", "raw_pixels"])
    expected, labels = split_features(alone, source, CONFIG)
    several = strategy(4)
    together = FeatureExtractor(network(several), ["final_avg_pool", "raw_pixels"], several)
    found, found_labels = split_features(together, source, CONFIG)
    np.testing.assert_array_equal(found_labels, labels)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_fewer_images_than_replicas(strategy: Callable) -> None:
    source = load_source(DataConfig(dataset="digits"), "train[:3]")
    extract = FeatureExtractor(lambda images, training: {}, ["raw_pixels"], strategy(4))
    found, labels = split_features(extract, source, CONFIG)
    assert found["raw_pixels"].shape == (3, 192) and len(labels) == 3


@pytest.mark.parametrize(("built", "used"), [(1, 1), (2, 2), (2, 1)])
def test_a_compiled_pass_finds_the_same(
    network: Callable, strategy: Callable, monkeypatch: pytest.MonkeyPatch, built: int, used: int
) -> None:
    """On several GPUs too, where a step is not compiled as a whole; and on one of them alone."""
    source = load_source(DataConfig(dataset="digits"), "train[:20]")
    made, over = network(strategy(built)), strategy(used)
    expected, _ = split_features(FeatureExtractor(made, ["final_avg_pool"], over), source, CONFIG)
    monkeypatch.setattr(compilation, "on_gpu", lambda: True)
    extract = FeatureExtractor(made, ["final_avg_pool"], over, compile="auto")
    found, _ = split_features(extract, source, CONFIG)
    np.testing.assert_allclose(found["final_avg_pool"], expected["final_avg_pool"], rtol=1e-4, atol=1e-5)
    (traced,) = extract._run._list_all_concrete_functions()
    compiled = [
        graph
        for graph in graphs_of(traced.graph)
        for function in graph._functions.values()
        if "_XlaMustCompile" in function.cached_definition.attr
    ]
    assert len(compiled) == used


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("float32", np.float32),
        ("mixed_bfloat16", ml_dtypes.bfloat16),
        ("mixed_float16", np.float16),
        ("float64", np.float32),
    ],
)
def test_half_precision_takes_half_the_memory(
    network: Callable, strategy: Callable, precision: str, dtype: type
) -> None:
    source = load_source(DataConfig(dataset="digits"), "train[:20]")
    made = network(strategy(1), precision)
    found, _ = split_features(FeatureExtractor(made, ["final_avg_pool", "logits_sup"]), source, CONFIG)
    assert found["final_avg_pool"].dtype == dtype
    assert found["logits_sup"].dtype == np.float32
    with split_batches(source, CONFIG) as batches:
        (first, _) = batches
    h = made(first["image"])["final_avg_pool"]
    np.testing.assert_allclose(
        found["final_avg_pool"][:16].astype(np.float64), tf.cast(h, tf.float64), rtol=1e-2, atol=1e-2
    )
