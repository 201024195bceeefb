"""An exported module gives the network's endpoints, and trains."""

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tf_simclrv2 import ModelConfig, SimCLR, save_module


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=32, num_classes=4))
    network.build((None, 32, 32, 3))
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(variable.numpy() + 0.1 * rng.standard_normal(variable.shape))
    path = str(tmp_path_factory.mktemp("export") / "module")
    save_module(network, path)
    return network, tf.saved_model.load(path)


def test_every_endpoint_of_any_batch_and_size(exported):
    network, module = exported
    for batch, size in ((1, 32), (3, 48)):
        images = image(batch, size, 3, 5)
        expected = network(images, training=False)
        found = module(images, training=False)
        assert set(found) == set(expected)
        for name, endpoint in expected.items():
            error = np.linalg.norm(found[name] - endpoint) / np.linalg.norm(endpoint)
            assert error < 1e-5, name
    np.testing.assert_array_equal(module(images)["final_avg_pool"], found["final_avg_pool"])


def test_module_trains(exported):
    network, module = exported
    assert len(module.variables) == len(network.variables)
    assert len(module.trainable_variables) == len(network.trainable_variables)
    assert list(module.regularization_losses) == []
    with tf.GradientTape() as tape:
        endpoints = module(image(4, 32, 3, 6), training=True)
        loss = tf.reduce_sum(endpoints["logits_sup"] ** 2) + tf.reduce_sum(endpoints["proj_head_output"] ** 2)
    gradients = tape.gradient(loss, list(module.trainable_variables))
    assert all(gradient is not None for gradient in gradients)


def test_statistics_move_in_training_only(exported):
    _, module = exported
    statistics = [v for v in module.variables if not any(v is t for t in module.trainable_variables)]
    before = [v.numpy() for v in statistics]
    module(image(4, 32, 3, 6), training=False)
    for variable, value in zip(statistics, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    module(image(4, 32, 3, 6), training=True)
    assert all(np.any(v.numpy() != value) for v, value in zip(statistics, before, strict=True))
