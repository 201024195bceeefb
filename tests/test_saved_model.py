"""An exported module gives the network's endpoints, trains, and serves."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.core.protobuf import config_pb2

from tests.goldens import assign_published_weights, image
from tf_simclrv2 import ConfigError, ExperimentConfig, HubLayer, ModelConfig, SimCLR, save_module

R18 = ModelConfig(resnet_depth=18, image_size=32, num_classes=4)
NETWORKS = {
    "r18": R18,
    "r18_linear": ModelConfig(resnet_depth=18, image_size=32, num_classes=4, proj_head_mode="linear"),
    "r18_none": ModelConfig(resnet_depth=18, image_size=32, num_classes=4, proj_head_mode="none"),
    "r50": ModelConfig(resnet_depth=50, image_size=48, num_classes=4),
    "r50_sk": ModelConfig(resnet_depth=50, image_size=48, num_classes=4, sk_ratio=0.0625),
    "r50_se": ModelConfig(resnet_depth=50, image_size=48, num_classes=4, se_ratio=0.25),
}
CLASSES = ("cat", "dog", "owl", "yak")
ENDPOINTS = {
    *("initial_conv", "initial_max_pool", "block_group1", "block_group2", "block_group3", "block_group4"),
    *("final_avg_pool", "proj_head_input", "proj_head_output"),
    *("proj_head_0", "proj_head_1", "proj_head_2", "proj_head_3", "logits_sup"),
}


def network_of(config: ModelConfig, dtype: str = "float32") -> SimCLR:
    network = SimCLR(config, dtype=dtype)
    network.build((None, config.image_size, config.image_size, 3))
    assign_published_weights(network)
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network = network_of(R18)
    path = str(tmp_path_factory.mktemp("export") / "module")
    save_module(network, path, ExperimentConfig(model=R18), class_names=CLASSES, training={"global_step": 7})
    return network, path


@pytest.fixture(scope="module")
def module(exported):
    return tf.saved_model.load(exported[1])


def isolated(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program in a process that cannot import this package."""
    preamble = "import sys; sys.modules['tf_simclrv2'] = None\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", preamble + script, *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def relative(found, expected) -> float:
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_endpoint_is_the_networks(name, tmp_path):
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
    import dataclasses

    frozen = network_of(dataclasses.replace(R18, fine_tune_after_block=4))
    save_module(frozen, str(tmp_path / "module"))
    module = tf.saved_model.load(str(tmp_path / "module"))
    assert len(module.trainable_variables) > len(frozen.trainable_variables)
    images = image(2, 32, 3, 5)
    expected = frozen(images, training=False)
    assert all(relative(value, expected[name]) < 1e-5 for name, value in module(images).items())


# ------------------------------------------------------------------------------ signatures


def test_signatures(exported, module):
    network, _ = exported
    images = image(3, 32, 3, 5)
    expected = network(images, training=False)
    heads = [f"proj_head_{i}" for i in range(4)]
    outputs = {
        "serving_default": ["final_avg_pool", *heads, "logits_sup"],
        "encoder": ["final_avg_pool"],
        "logits": ["logits_sup"],
        **{head: [head] for head in heads},
    }
    assert set(module.signatures) == {*outputs, "image_bytes"}
    for name, endpoints in outputs.items():
        found = module.signatures[name](images=tf.constant(images))
        assert set(found) == set(endpoints), name
        assert all(relative(found[endpoint], expected[endpoint]) < 1e-5 for endpoint in endpoints)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    encode = tf.io.encode_jpeg if kind == "jpeg" else tf.io.encode_png
    return encode(tf.constant(pixels, tf.uint8)).numpy()


def picture(height: int = 40, width: int = 50, channels: int = 3) -> np.ndarray:
    ramp = np.linspace(0, 255, height * width * channels).reshape(height, width, channels)
    return ramp.astype(np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_image_bytes_are_preprocessed_as_in_evaluation(exported, module, kind, channels):
    if (kind, channels) == ("jpeg", 4):
        return  # A JPEG has no transparency.
    network, _ = exported
    contents = [encoded(picture(40, 50, channels), kind), encoded(picture(9, 300, channels), kind)]
    # At 32 pixels and below, evaluation takes the whole image; see tests/data for the central crop.
    resized = [
        tf.image.resize(tf.image.decode_image(content, 3, tf.float32), [32, 32], "bicubic")
        for content in contents
    ]
    expected = network(np.clip(np.stack(resized), 0, 1), training=False)
    found = module.signatures["image_bytes"](image_bytes=tf.constant(contents))
    assert set(found) == set(module.signatures["serving_default"].structured_outputs)
    assert all(relative(found[name], expected[name]) < 1e-5 for name in found)


BAD_REQUESTS = {
    "no image": ([], "holds no images"),
    "empty": ([b""], "Image.*0.*neither JPEG nor PNG"),
    "text": ([b"no image at all, just some words"], "Image.*0.*neither JPEG nor PNG"),
    "gif": ([b"GIF89a" + bytes(40)], "neither JPEG nor PNG"),
    "second is bad": ([encoded(picture(), "png"), b"x"], "Image.*1.*neither"),
    "truncated jpeg": ([encoded(picture(80, 80), "jpeg")[:-200]], "Invalid JPEG"),
    "truncated png": ([encoded(picture(80, 80), "png")[:-60]], "PNG"),
    "png head only": ([encoded(picture(), "png")[:20]], "neither JPEG nor PNG"),
    "jpeg head only": ([b"\xff\xd8\xff\xe0"], "Invalid JPEG"),
    "1 x 1": ([encoded(picture(1, 1), "png")], "1.*x.*1.*pixels; sides must be at least 2"),
    "huge png": ([encoded(np.zeros([20000, 20000, 1]), "png")], "20000.*x.*20000.*at most 50000000"),
    "huge jpeg": ([encoded(np.zeros([20000, 20000, 1]), "jpeg")], "20000.*x.*20000.*at most 50000000"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_image_bytes(module, name):
    contents, message = BAD_REQUESTS[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        module.signatures["image_bytes"](image_bytes=tf.constant(contents, tf.string))
    good = module.signatures["image_bytes"](image_bytes=tf.constant([encoded(picture(), "png")]))
    assert np.all(np.isfinite(good["final_avg_pool"]))


def test_a_huge_image_takes_no_memory(exported, tmp_path):
    """1.2 GB of pixels in a file of a megabyte."""
    (tmp_path / "huge.png").write_bytes(BAD_REQUESTS["huge png"][0][0])
    done = isolated(
        "import resource, tensorflow as tf\n"
        "serve = tf.saved_model.load(sys.argv[1]).signatures['image_bytes']\n"
        "small = tf.io.encode_png(tf.zeros([40, 40, 3], tf.uint8)).numpy()\n"
        "serve(image_bytes=tf.constant([small]))\n"
        "huge = open(sys.argv[2], 'rb').read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    serve(image_bytes=tf.constant([huge]))\n"
        "except tf.errors.InvalidArgumentError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n",
        exported[1],
        str(tmp_path / "huge.png"),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # KiB


def test_bad_images(module):
    serve = module.signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="holds no images"):
        serve(images=tf.zeros([0, 32, 32, 3]))
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        # As a server does: any tensor is fed by the name of the input; Session.run would look at it first.
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], module_path(module))
        signature = loaded.signature_def["serving_default"]
        call = session._make_callable_from_options(
            config_pb2.CallableOptions(
                feed=[signature.inputs["images"].name], fetch=[signature.outputs["final_avg_pool"].name]
            )
        )
        for bad in (
            np.zeros([], np.float32),
            np.zeros([7], np.float32),
            np.zeros([32, 32, 3], np.float32),
            np.zeros([1, 1, 32, 32, 3], np.float32),
            np.zeros([1, 32, 32, 1], np.float32),
            np.zeros([1, 32, 32, 4], np.float32),
            np.zeros([1, 32, 32, 3], np.uint8),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError):
                call(bad)
        assert np.all(np.isfinite(call(np.zeros([1, 32, 32, 3], np.float32))[0]))


def module_path(module) -> str:
    """Where a module was loaded from, told by its asset."""
    return str(pathlib.Path(module.class_names.asset_path.numpy().decode()).parent.parent)


def test_the_loader_of_tensorflow_serving(exported, module):
    images = image(2, 32, 3, 5)
    contents = [encoded(picture(), "jpeg")]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], exported[1])
        found = {}
        for name, signature in loaded.signature_def.items():
            if name.startswith("__"):
                continue
            (key,) = signature.inputs
            outputs = {output: info.name for output, info in signature.outputs.items()}
            value = contents if key == "image_bytes" else images
            found[name] = session.run(outputs, {signature.inputs[key].name: value})
    assert set(found) == set(module.signatures)
    for name, outputs in found.items():
        if name == "image_bytes":
            expected = module.signatures[name](image_bytes=tf.constant(contents))
        else:
            expected = module.signatures[name](images=tf.constant(images))
        assert set(outputs) == set(expected)
        assert all(relative(outputs[key], expected[key]) < 1e-5 for key in outputs), name


# ------------------------------------------------------------------------------ consumers


def test_saved_model_cli_reads_well(exported):
    program = str(pathlib.Path(sys.executable).parent / "saved_model_cli")
    done = subprocess.run(
        [sys.executable, program, "show", "--all", "--dir", exported[1]],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
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


def test_what_is_no_module_for_a_hub_layer(exported, tmp_path):
    with pytest.raises(ConfigError, match="holds no SavedModel"):
        HubLayer(str(tmp_path))
    with pytest.raises(ConfigError, match=r"endpoint is 'proj_head_9', but the module .* has .*proj_head_1"):
        HubLayer(exported[1], endpoint="proj_head_9")
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ConfigError, match="not reusable"):
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
