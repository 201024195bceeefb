"""Others load a module: Keras 3, Keras 2, TensorFlow's own programs."""

import itertools
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tests.small_module import R18, encoded, isolated, network_of, picture, relative
from tf_simclrv2 import ConfigError, ExportError, HubLayer, save_module
from tf_simclrv2.models import resnet


def test_saved_model_cli_reads_well(exported):
    program = str(pathlib.Path(sys.executable).parent / "saved_model_cli")
    done = subprocess.run(
        [sys.executable, program, "show", "--all", "--dir", exported[1]],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in (
        "signature_def['serving_default']:",
        "signature_def['proj_head_3']:",
        "inputs['images'] tensor_info:",
        "inputs['image_bytes'] tensor_info:",
        "outputs['logits_sup'] tensor_info:",
        "shape: (-1, -1, -1, 3)",
        "Function Name: '__call__'",
    ):
        assert line in done.stdout, line


def test_no_warning_of_custom_gradients(exported, tmp_path):
    """From the program that saves, too: see tests/export."""
    done = isolated(
        "import tensorflow as tf\n"
        "module = tf.saved_model.load(sys.argv[1])\n"
        "tf.saved_model.save(module, sys.argv[2])\n",
        exported[1],
        str(tmp_path / "again"),
        TF_CPP_MIN_LOG_LEVEL="0",
    )
    assert done.returncode == 0, done.stderr
    assert "custom gradient" not in done.stderr.lower()


def test_tfsm_layer(exported, module):
    images = image(2, 32, 3, 5)
    for name in module.signatures:
        layer = keras.layers.TFSMLayer(exported[1], call_endpoint=name)
        if name == "image_bytes":
            found = layer(tf.constant([encoded(picture(), "png")]))
            assert found["final_avg_pool"].shape == (1, 512)
            continue
        if name == "classes":
            found = layer(tf.constant([encoded(picture(), "png")]))
            assert found["class"].dtype == tf.string and found["probability"].shape == (1,)
            continue
        inputs = keras.Input((32, 32, 3))
        found = keras.Model(inputs, layer(inputs)).predict(images, verbose=0)
        expected = module.signatures[name](images=tf.constant(images))
        assert all(relative(found[key], expected[key]) < 1e-5 for key in expected)


def test_hub_layer_trains_in_a_functional_model(exported, tmp_path):
    network, path = exported
    inputs = keras.Input((32, 32, 3))
    layer = HubLayer(path, endpoint="proj_head_1")
    model = keras.Model(inputs, keras.layers.Dense(3)(layer(inputs)))
    images, labels = image(12, 32, 3, 5), np.arange(12) % 3
    expected = network(images, training=False)["proj_head_1"]
    assert relative(layer(images, training=False), expected) < 1e-5
    assert len(layer.trainable_variables) == len(network.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    before = [variable.numpy() for variable in layer.variables]
    history = model.fit(images, labels, batch_size=12, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    moved = [np.any(variable.numpy() != old) for variable, old in zip(layer.variables, before, strict=True)]
    # Only what lies behind the endpoint stays: two layers of the head and the classifier.
    assert moved.count(False) == sum(
        "supervised_head" in v.path or ("projection_head" in v.path and "_1/" not in v.path)
        for v in network.trainable_variables
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert relative(again.predict(images, verbose=0), model.predict(images, verbose=0)) < 1e-5


def test_a_frozen_hub_layer_stays(exported):
    layer = HubLayer(exported[1], endpoint="final_avg_pool", trainable=False)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(layer(inputs)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [variable.numpy() for variable in layer.variables]
    model.fit(image(6, 32, 3, 5), np.arange(6) % 3, verbose=0)
    assert layer.trainable_variables == []
    for variable, old in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


IMAGE_DTYPES = ("float64", "float32", "float16", "bfloat16", "uint8")


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def policy(request) -> Iterator[keras.DTypePolicy]:
    """The dtype policy of a program that uses a layer."""
    keras.config.set_dtype_policy(request.param)
    yield keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")


def images_of(dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Images as a user has them, and the same in [0, 1] as the network takes them."""
    pixels = image(2, 32, 3, 5)
    if dtype == "uint8":
        pixels = np.round(255 * pixels)
        return tf.constant(pixels, tf.uint8), tf.constant(pixels / 255, tf.float32)
    images = tf.cast(pixels, dtype)
    return images, tf.cast(images, tf.float32)


def test_hub_layer_under_every_policy(exported, policy):
    """The module computes in float32 on the images that came; only its output is rounded."""
    network, path = exported
    layer = HubLayer(path, endpoint="proj_head_1")
    # Training comes last, since it moves the statistics of the layer.
    for training, dtype in itertools.product((False, True), IMAGE_DTYPES):
        images, plain = images_of(dtype)
        expected = network(plain, training=training, update_statistics=False)["proj_head_1"]
        expected = tf.cast(expected, policy.compute_dtype)
        found = layer(images, training=training)
        assert found.dtype == policy.compute_dtype
        assert relative(tf.cast(found, "float32"), tf.cast(expected, "float32")) < 1e-3, (dtype, training)
    assert {variable.dtype for variable in layer.variables} == {"float32"}


def test_models_with_a_hub_layer_under_every_policy(exported, policy):
    network, path = exported
    layer = HubLayer(path, trainable=False)
    for dtype in IMAGE_DTYPES:
        images, plain = images_of(dtype)
        expected = network(plain, training=False)
        assert {output.dtype.name for output in layer(images).values()} == {policy.compute_dtype}
        inputs = keras.Input((32, 32, 3), dtype=dtype)
        model = keras.Model(inputs, layer(inputs))
        for name, found in model(images, training=False).items():
            assert found.dtype == policy.compute_dtype
            assert relative(tf.cast(found, "float32"), expected[name]) < 1e-2, (dtype, name)
    sequential = keras.Sequential([keras.Input((32, 32, 3)), HubLayer(path, endpoint="final_avg_pool")])
    found = sequential.predict(images_of("float32")[0], verbose=0)
    assert found.dtype == policy.compute_dtype
    expected = network(images_of("float32")[1], training=False)["final_avg_pool"]
    assert relative(found.astype("float32"), expected) < 1e-2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_a_mixed_precision_model_is_trained_saved_and_loaded(exported, policy, tmp_path):
    inputs = keras.Input((32, 32, 3))
    layer = HubLayer(exported[1], endpoint="final_avg_pool")
    outputs = keras.layers.Dense(3, dtype="float32")(keras.layers.Dense(8)(layer(inputs)))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    images, labels = image(12, 32, 3, 5), np.arange(12) % 3
    before = [variable.numpy() for variable in layer.variables]
    history = model.fit(images, labels, batch_size=12, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert any(np.any(variable.numpy() != old) for variable, old in zip(layer.variables, before, strict=True))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[1].dtype_policy.name == policy.name
    assert relative(again.predict(images, verbose=0), model.predict(images, verbose=0)) < 1e-3


def test_a_hub_layer_with_a_dtype_of_its_own(exported, policy):
    network, path = exported
    images, plain = images_of("float32")
    expected = network(plain, training=False)["final_avg_pool"]
    found = HubLayer(path, endpoint="final_avg_pool", dtype="float32")(images)
    assert found.dtype == "float32" and relative(found, expected) < 1e-5


def test_a_float64_module_takes_float32_images(tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))
    monkeypatch.setattr(resnet, "GROUP_WIDTHS", (16, 16, 16, 16))
    network = network_of(R18, "float64")
    save_module(network, str(tmp_path / "module"))
    images, _ = images_of("float32")
    expected = network(tf.cast(images, "float64"), training=False)["final_avg_pool"]
    found = HubLayer(str(tmp_path / "module"), endpoint="final_avg_pool", dtype="float64")(images)
    assert found.dtype == "float64" and relative(found, expected) < 1e-9


def test_integers_that_are_not_pixels(exported):
    layer = HubLayer(exported[1])
    with pytest.raises(ConfigError, match=r"images are int32, but .* takes floats in \[0, 1\]; pass those"):
        layer(np.zeros((1, 32, 32, 3), np.int32))


def test_what_is_no_module_for_a_hub_layer(exported, tmp_path):
    with pytest.raises(ExportError, match="is not a SavedModel"):
        HubLayer(str(tmp_path))
    with pytest.raises(ConfigError, match=r"endpoint is 'proj_head_9', but the module .* has .*proj_head_1"):
        HubLayer(exported[1], endpoint="proj_head_9")
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ExportError, match="not reusable"):
        HubLayer(str(tmp_path / "bare"))


@pytest.mark.parametrize("api", ["feature_vector", "classification"])
def test_hub_keras_layer(exported, tmp_path, api):
    """The layer of Keras 2, which lives in a process of its own."""
    network, _ = exported
    path = str(tmp_path / "module")
    save_module(network, path, api=api)
    images = image(6, 32, 3, 5)
    np.save(tmp_path / "images.npy", images)
    done = isolated(
        "import numpy as np, tensorflow_hub as hub, tf_keras as keras\n"
        "images = np.load(sys.argv[2])\n"
        "layer = hub.KerasLayer(sys.argv[1], trainable=True)\n"
        "np.save(sys.argv[3], layer(images))\n"
        "model = keras.Sequential([layer, keras.layers.Dense(3)])\n"
        "loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
        "model.compile(keras.optimizers.SGD(0.01), loss)\n"
        "h = model.fit(images, np.arange(6) % 3, epochs=5, verbose=0).history['loss']\n"
        "assert h[-1] < h[0], h\n"
        "print(len(layer.trainable_variables))\n",
        path,
        str(tmp_path / "images.npy"),
        str(tmp_path / "found.npy"),
        TF_USE_LEGACY_KERAS="1",
        TF_CPP_MIN_LOG_LEVEL="3",
    )
    assert done.returncode == 0, done.stderr
    endpoint = {"feature_vector": "final_avg_pool", "classification": "logits_sup"}[api]
    expected = network(images, training=False)[endpoint]
    assert relative(np.load(tmp_path / "found.npy"), expected) < 1e-5
    encoder = len(network.resnet.trainable_variables)
    assert int(done.stdout.split()[-1]) == encoder + (2 if api == "classification" else 0)
