"""An exported module gives the network's endpoints, and trains."""

import contextlib
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from tests.goldens import image
from tests.small_module import (
    CLASSES,
    R18,
    encoded,
    isolated,
    network_of,
    picture,
    relative,
)
from tf_simclrv2 import ConfigError, ModelConfig, save_module
from tf_simclrv2.models import SimCLR, resnet
from tf_simclrv2.modules.saved_model import exported_network

NETWORKS = {
    "r18": R18,
    "r18_linear": ModelConfig(resnet_depth=18, image_size=32, num_classes=4, proj_head_mode="linear"),
    "r18_none": ModelConfig(resnet_depth=18, image_size=32, num_classes=4, proj_head_mode="none"),
    "r50": ModelConfig(resnet_depth=50, image_size=48, num_classes=4),
    "r50_sk": ModelConfig(resnet_depth=50, image_size=48, num_classes=4, sk_ratio=0.0625),
    "r50_se": ModelConfig(resnet_depth=50, image_size=48, num_classes=4, se_ratio=0.25),
}
ENDPOINTS = {
    *("initial_conv", "initial_max_pool", "block_group1", "block_group2", "block_group3", "block_group4"),
    *("final_avg_pool", "proj_head_input", "proj_head_output"),
    *("proj_head_0", "proj_head_1", "proj_head_2", "proj_head_3", "logits_sup"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_endpoint_is_the_networks(name, tmp_path, monkeypatch):
    # Every kind of layer is there; more and wider blocks only take longer.
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 2, 1, 1))
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 50, (1, 2, 1, 1))
    monkeypatch.setattr(resnet, "GROUP_WIDTHS", (16, 24, 32, 48))
    for dtype, training, tolerance in (("float32", False, 1e-5), ("float64", True, 1e-9)):
        network = network_of(NETWORKS[name], dtype)
        save_module(network, str(tmp_path / dtype))
        images = image(4, network.config.image_size, 3, 5).astype(dtype)
        found = tf.saved_model.load(str(tmp_path / dtype))(images, training=training)
        expected = network(images, training=training)
        assert set(found) == set(expected) == set(network.endpoint_widths)
        for endpoint, values in expected.items():
            assert relative(found[endpoint], values) < tolerance, (dtype, endpoint)
            assert found[endpoint].shape[-1] == network.endpoint_widths[endpoint]


def test_any_batch_and_size(exported, module):
    network, _ = exported
    for batch, size in ((1, 32), (3, 48), (2, 17)):
        images = image(batch, size, 3, 5)
        expected, found = network(images, training=False), module(images, training=False)
        assert set(found) == ENDPOINTS
        assert all(relative(found[name], expected[name]) < 1e-5 for name in ENDPOINTS)


def test_the_published_word_for_training(exported):
    module = tf.saved_model.load(exported[1])
    images = image(2, 32, 3, 5)
    inference, training = module(images), module(images, training=True)
    assert relative(module(images, trainable=True)["final_avg_pool"], training["final_avg_pool"]) < 1e-6
    assert relative(training["final_avg_pool"], inference["final_avg_pool"]) > 1e-3


def test_what_can_be_trained(exported):
    network, module = exported[0], tf.saved_model.load(exported[1])
    assert len(module.variables) == len(network.variables)
    assert len(module.trainable_variables) == len(network.trainable_variables)
    assert list(module.regularization_losses) == []
    for training in (True, False):
        with tf.GradientTape() as tape:
            endpoints = module(image(4, 32, 3, 6), training=training)
            loss = tf.reduce_sum(endpoints["logits_sup"] ** 2) + tf.reduce_sum(
                endpoints["proj_head_output"] ** 2
            )
        gradients = tape.gradient(loss, list(module.trainable_variables))
        assert all(np.any(gradient) for gradient in gradients), training


def test_statistics_move_in_training_only(exported):
    module = tf.saved_model.load(exported[1])
    statistics = [v for v in module.variables if not any(v is t for t in module.trainable_variables)]
    before = [v.numpy() for v in statistics]
    module(image(4, 32, 3, 6), training=False)
    for variable, value in zip(statistics, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    module(image(4, 32, 3, 6), training=True)
    assert all(np.any(v.numpy() != value) for v, value in zip(statistics, before, strict=True))


def test_a_frozen_network_is_exported_to_be_trained(tmp_path):
    frozen = network_of(dataclasses.replace(R18, fine_tune_after_block=4))
    save_module(frozen, str(tmp_path / "module"))
    module = tf.saved_model.load(str(tmp_path / "module"))
    assert len(module.trainable_variables) > len(frozen.trainable_variables)
    images = image(2, 32, 3, 5)
    expected = frozen(images, training=False)
    assert all(relative(value, expected[name]) < 1e-5 for name, value in module(images).items())


def test_a_rematerializing_network_is_exported_plain(tmp_path):
    network = SimCLR(R18, rematerialize=True)
    network.build((None, 32, 32, 3))
    part = exported_network(network)
    assert not part.rematerialize and part.config == network.config
    save_module(network, str(tmp_path / "module"))
    module = tf.saved_model.load(str(tmp_path / "module"))
    images = image(2, 32, 3, 5)
    for training in (False, True):
        expected = part(images, training=training)
        found = module(images, training=training)
        assert all(relative(value, expected[name]) < 1e-5 for name, value in found.items())


FINE_TUNE = """
import numpy as np, tensorflow as tf

def fine_tune(call, variables, images, labels):
    "Forty steps of plain gradient descent from proj_head_1; the last loss in inference mode."
    kernel = tf.Variable(tf.zeros([512, 10]))
    variables = [*variables, kernel]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = call(images, training=True)["proj_head_1"] @ kernel
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, variables)
        for variable, gradient in zip(variables, gradients):
            if gradient is not None:
                variable.assign_sub(0.05 * gradient)
        return loss

    return [float(step()) for _ in range(40)]
"""


def test_fine_tuning_in_a_fresh_process(exported, tmp_path):
    _, path = exported
    digits = load_digits()
    images = tf.image.resize(digits.images[:50, ..., None] / 16, [16, 16]).numpy().repeat(3, -1)
    np.savez(tmp_path / "digits.npz", images=np.clip(images, 0, 1), labels=digits.target[:50])
    done = isolated(
        FINE_TUNE + "m = tf.saved_model.load(sys.argv[1])\n"
        "data = np.load(sys.argv[2])\n"
        "images, labels = tf.constant(data['images'], tf.float32), tf.constant(data['labels'])\n"
        "print(fine_tune(m, m.trainable_variables, images, labels))\n",
        path,
        str(tmp_path / "digits.npz"),
        TF_CPP_MIN_LOG_LEVEL="3",
    )
    assert done.returncode == 0, done.stderr
    namespace: dict = {}
    exec(FINE_TUNE, namespace)
    data = np.load(tmp_path / "digits.npz")
    images, labels = tf.constant(data["images"], tf.float32), tf.constant(data["labels"])
    own = network_of(R18)
    variables = [variable.value for variable in own.trainable_variables]
    expected = namespace["fine_tune"](own, variables, images, labels)
    found = json.loads(done.stdout.splitlines()[-1])
    assert expected[-1] < 0.5 * expected[0]
    assert abs(found[-1] - expected[-1]) < 0.05 * expected[-1]


# ------------------------------------------------------------------------------ what comes along


def test_description_and_card(exported):
    directory = pathlib.Path(exported[1])
    told = json.loads((directory / "simclr.json").read_text())
    assert told["model"]["resnet_depth"] == 18 and told["endpoints"]["proj_head_3"] == 128
    assert told["preprocessing"]["image_size"] == 32 and told["class_names"] == list(CLASSES)
    assert told["training"] == {"global_step": 7} and told["versions"]["tensorflow"] == tf.__version__
    assert (directory / "assets" / "labels.txt").read_text().split() == list(CLASSES)
    card = (directory / "README.md").read_text()
    assert "ResNet-18 (1x)" in card and "| `proj_head_1` | 512 |" in card


def test_the_code_of_a_model_card_runs(exported):
    card = (pathlib.Path(exported[1]) / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("THIS_DIRECTORY", exported[1])
    names = {"images": image(2, 32, 3, 5)}
    with contextlib.chdir(exported[1]):
        path = pathlib.Path("a.jpg")
        path.write_bytes(encoded(picture(), "jpeg"))
        exec(code, names)
        path.unlink()
    assert names["h"].shape == (2, 512) and names["features"]["proj_head_3"].shape == (1, 128)


def test_what_cannot_be_exported(exported, tmp_path):
    network, _ = exported
    path = str(tmp_path / "module")
    with pytest.raises(ConfigError, match=r"class_names has 2 names, but .* 4 classes"):
        save_module(network, path, class_names=("a", "b"))
    with pytest.raises(ConfigError, match="endpoint is 'block_group1'; choose one of final_avg_pool"):
        save_module(network, path, endpoint="block_group1")
    with pytest.raises(ConfigError, match=r"does not feed the classifier; .*proj_head_0"):
        save_module(network, path, api="classification", endpoint="proj_head_1")
    headless = network.config.truncated("proj_head_1")
    with pytest.raises(ConfigError, match="has no classifier"):
        save_module(network_of(headless), path, api="classification")
    assert not pathlib.Path(path).exists()
