"""A ResNet of `keras.applications` as a start: what can be equal is, and what cannot is said or refused."""

from __future__ import annotations

import contextlib
import pathlib
import zipfile
from collections.abc import Iterator

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import resnet as applications
from keras.src.legacy.saving import legacy_h5_format

from tests.training.small_runs import Lines
from tf_simclrv2 import (
    CheckpointError,
    ConfigError,
    DistillationConfig,
    ExperimentConfig,
    ModelConfig,
    RunConfig,
    SimCLR,
    TrainingConfig,
)
from tf_simclrv2.models import resnet
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.weights.keras_resnet import KerasResNet
from tf_simclrv2.weights.loading import find_weights, load_network, load_weights

SIZE = 64
RNG = np.random.default_rng(5)
# What the tests call ResNet-50: all that one has, but few blocks and narrow ones.
BLOCKS = (2, 2, 1, 2)
WIDTHS = (16, 16, 16, 32)
# The blocks that do not stride, by Keras's numbers of stage and block.
EQUAL = [(2, 1), (2, 2), (3, 2), (5, 2)]


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS_PER_GROUP, 50, BLOCKS)
        patch.setattr(resnet, "GROUP_WIDTHS", WIDTHS)
        yield


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)


def keras_resnet(blocks: tuple[int, ...] = BLOCKS, version: int = 1, **options) -> keras.Model:
    """What `keras.applications.ResNet50` or `ResNet50V2` makes, with other numbers of blocks and widths."""
    stack = getattr(applications, f"stack_residual_blocks_v{version}")

    def stages(x):
        for number, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), 2):
            x = stack(x, width, count, stride1=1 if number == 2 else 2, name=f"conv{number}")
        return x

    return applications.ResNet(stages, preact=version == 2, use_bias=True, weights=None, **options)


@pytest.fixture(scope="module")
def application():
    """A ResNet of Keras with a classifier of seven classes in float64, with no default in a variable."""
    with in_float64():
        model = keras_resnet(input_shape=(SIZE, SIZE, 3), classes=7)
    for variable in model.variables:
        name, shape = variable.path.rpartition("/")[2], variable.shape
        positive = name in ("gamma", "moving_variance")
        if name != "kernel":
            variable.assign(RNG.uniform(0.5, 1.5, shape) if positive else 0.2 * RNG.standard_normal(shape))
    # Some channels of a trained first layer see next to nothing; the others see numbers up to 255.
    model.get_layer("conv1_bn").moving_variance.assign(np.geomspace(1e-8, 1e4, 64))
    return model


@pytest.fixture(scope="module")
def file(application, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("keras") / "r50.weights.h5")
    application.save_weights(path)
    return path


def built(dtype: str = "float32", **fields) -> SimCLR:
    model = ModelConfig(**{"resnet_depth": 50, "image_size": SIZE, **fields})
    network = SimCLR(model, name="simclr", dtype=dtype)
    network.build((None, model.image_size, model.image_size, 3))
    return network


@pytest.fixture(scope="module")
def network(file) -> SimCLR:
    network = built("float64", num_classes=7)
    load_weights(network, file)
    return network


def pictures(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(count, SIZE, SIZE, 3))


def as_keras_wants(images: np.ndarray) -> np.ndarray:
    with in_float64():
        return keras.applications.resnet.preprocess_input(255.0 * images)


# What is equal.


def test_the_first_layer_is_keras_s_except_at_the_edge(application, network):
    """Keras pads with its mean color, this package with black, so the first and last two rows differ."""
    images, stem = pictures(), network.resnet.stem
    keras_stem = keras.Model(application.input, application.get_layer("conv1_relu").output)
    expected = np.asarray(keras_stem(as_keras_wants(images)))
    found = stem.norms[0](stem.convs[0](tf.constant(images)), training=False).numpy()
    inside = (slice(None), slice(2, -2), slice(2, -2))
    atol = 1e-12 * expected.max()
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9, atol=atol)
    assert np.abs(found - expected).max() > 0.01 * expected.max()


@pytest.mark.parametrize(("stage", "number"), EQUAL)
@pytest.mark.parametrize("training", [False, True])
def test_a_block_that_does_not_stride_is_keras_s(application, network, stage, number, training):
    block = network.resnet.block_groups[stage - 2].blocks[number - 1]
    name = f"conv{stage}_block{number}"
    before = application.get_layer(f"{name}_1_conv").input
    keras_block = keras.Model(before, application.get_layer(f"{name}_out").output)
    x = tf.constant(np.abs(RNG.standard_normal([5, *before.shape[1:]])))
    kept = [variable.numpy() for variable in (*keras_block.variables, *block.variables)]
    expected, found = keras_block(x, training=training), block(x, training=training)
    for variable, value in zip((*keras_block.variables, *block.variables), kept, strict=True):
        variable.assign(value)
    # In training, the epsilons differ by 1e-8 next to the variance of the batch.
    limit = 1e-5 if training else 1e-9
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=limit, atol=limit)


def moved(application: keras.Model, images: np.ndarray) -> tf.Tensor:
    """Keras's network with what this package does otherwise: stride in the 3x3, black edge, SAME pooling."""

    def unit(x, name, stride=1, pad=True, relu=True):
        kernel, bias = application.get_layer(f"{name}_conv").get_weights()
        edge = [(len(kernel) - 1) // 2 if pad else 0] * 2
        x = tf.nn.conv2d(tf.pad(x, [[0, 0], edge, edge, [0, 0]]), kernel, stride, "VALID") + bias
        x = application.get_layer(f"{name}_bn")(x, training=False)
        return tf.nn.relu(x) if relu else x

    x = unit(as_keras_wants(np.pad(images, [[0, 0], [3, 3], [3, 3], [0, 0]])), "conv1", 2, pad=False)
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    for stage, blocks in enumerate(BLOCKS, 2):
        for block in range(1, blocks + 1):
            name, stride = f"conv{stage}_block{block}", 2 if stage > 2 and block == 1 else 1
            shortcut = unit(x, f"{name}_0", stride, relu=False) if block == 1 else x
            x = unit(unit(x, f"{name}_1"), f"{name}_2", stride)
            x = tf.nn.relu(unit(x, f"{name}_3", relu=False) + shortcut)
    return tf.reduce_mean(x, [1, 2])


def test_the_whole_network_is_keras_s_but_for_what_is_said_to_differ(application, network):
    images = pictures()
    found = network(tf.constant(images), training=False)["final_avg_pool"].numpy()
    expected = moved(application, images).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * expected.max())
    keras_network = keras.Model(application.input, application.get_layer("avg_pool").output)
    as_it_is = np.asarray(keras_network(as_keras_wants(images)))
    assert np.abs(found - as_it_is).max() > 0.01 * as_it_is.max()


# What is reported.


def test_heads_stay_as_initialized_and_the_report_says_so(file):
    network = built(num_classes=7)
    before = {name: variable.numpy() for name, variable in named_variables(network).items()}
    report = load_weights(network, file)
    changed = {
        name
        for name, variable in named_variables(network).items()
        if not np.array_equal(variable.numpy(), before[name])
    }
    assert changed == {name for name in before if name.startswith("resnet/")} == set(report.loaded)
    lines = str(report).split("\n  ")
    assert lines[0] == f"{len(report.loaded)} variables loaded from {file}"
    assert "stride in another convolution" in lines[1]
    assert lines[2:] == [
        "left as initialized: supervised_head/kernel (not in the checkpoint)",
        "left as initialized: supervised_head/bias (not in the checkpoint)",
        "left as initialized: projection_head (not in a Keras application)",
        "not used by this network: predictions/bias, predictions/kernel",
    ]


def run_of(path: str, mode: str = "pretrain", **fields) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(**fields),
        training=TrainingConfig(train_mode=mode),
        run=RunConfig(model_dir="unused", checkpoint=path),
    )


def test_a_run_takes_the_depth_and_keeps_its_head(deeper):
    said = Lines()
    config = adopt(run_of(deeper, image_size=96, num_proj_layers=2), say=said.append)
    assert (config.model.resnet_depth, config.model.image_size, config.model.num_proj_layers) == (101, 96, 2)
    assert said == [f"resnet_depth 101: from {deeper}"]


def test_the_config_of_a_run_beside_the_file_is_not_its_own(deeper):
    (pathlib.Path(deeper).parent / "config.json").write_text('{"model_type": "of another library"}')
    assert adopt(run_of(deeper)).model.resnet_depth == 101
    assert "not in the checkpoint" in str(load_weights(built(resnet_depth=101, num_classes=7), deeper))


# In which files.


def empty_file(path: pathlib.Path, model: keras.Model) -> str:
    """Names and shapes of a model's weights as older files have them; the values, all 0, take no space."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            for variable in layer.weights:
                file.create_dataset(f"{layer.name}/{layer.name}/{variable.name}:0", variable.shape, "f4")
    return str(path)


@pytest.fixture(scope="module")
def deeper(tmp_path_factory) -> str:
    model = keras_resnet((3, 4, 23, 3), include_top=False)
    return empty_file(tmp_path_factory.mktemp("deeper") / "resnet101_notop.h5", model)


def test_the_deepest_is_recognized(tmp_path):
    model = keras_resnet((3, 8, 36, 3), include_top=False)
    assert KerasResNet(empty_file(tmp_path / "deepest.h5", model)).model.resnet_depth == 152


def test_a_whole_resnet_50_has_every_variable_of_ours(tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 50, (3, 4, 6, 3))
    monkeypatch.setattr(resnet, "GROUP_WIDTHS", (64, 128, 256, 512))
    found = KerasResNet(empty_file(tmp_path / "r50.h5", keras.applications.ResNet50(weights=None)))
    ours = named_variables(built(proj_head_mode="none", num_classes=0))
    assert {path: tuple(variable.shape) for path, variable in ours.items()} == {
        path: shape for path, shape in found.shapes.items() if not path.startswith("predictions/")
    }


def in_older_form(model: keras.Model, path: str) -> None:
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def inside_another(model: keras.Model, path: str) -> None:
    inputs = keras.Input([SIZE, SIZE, 3], dtype="float64")
    outer = keras.Sequential([inputs, model, keras.layers.Dense(3, name="mine")])
    outer.compile("sgd", "mse")
    outer.save(path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("whole.keras", lambda model, path: model.save(path)),
        ("whole.h5", lambda model, path: model.save(path)),
        ("older.h5", in_older_form),
        ("inside.keras", inside_another),
        ("inside.h5", inside_another),
    ],
)
def test_every_file_of_keras_gives_the_same(application, file, tmp_path, name, save):
    save(application, str(tmp_path / name))
    expected, found = KerasResNet(file), KerasResNet(str(tmp_path / name))
    paths = [path for path in expected.shapes if path.startswith("resnet/")]
    assert paths == [path for path in found.shapes if path.startswith("resnet/")]
    for path in paths:
        np.testing.assert_array_equal(found.tensor(path), expected.tensor(path))


# What is refused.


def test_other_networks_of_keras_are_refused_by_what_they_have(tmp_path):
    pre_activated = keras_resnet((2, 2, 2, 2), version=2, include_top=False)
    with pytest.raises(CheckpointError, match=r"v2\.h5 has 2, 2, 2, 2 blocks of version 2, so it is not a"):
        find_weights(empty_file(tmp_path / "v2.h5", pre_activated))
    mobile = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False)
    with pytest.raises(CheckpointError, match=r"has the layers conv1, conv1_bn, .*save one of these"):
        find_weights(empty_file(tmp_path / "mobile.h5", mobile))


def test_a_file_that_lacks_a_variable_is_refused(deeper, tmp_path):
    path = tmp_path / "lacking.h5"
    path.write_bytes(pathlib.Path(deeper).read_bytes())
    with h5py.File(path, "a") as file:
        del file["conv3_block2_2_conv/conv3_block2_2_conv/bias:0"]
    with pytest.raises(CheckpointError, match=r"lacks 1 variable\(s\), the first conv3_block2_2_conv/bias"):
        find_weights(str(path))


def test_damaged_files_are_refused_by_name(file, tmp_path):
    short, text, archive = (tmp_path / name for name in ("short.h5", "text.keras", "archive.keras"))
    short.write_bytes(pathlib.Path(file).read_bytes()[:100_000])
    text.write_text("no weights")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("config.json", "{}")
    for path in (short, text, archive):
        with pytest.raises(CheckpointError, match=f"{path.name} cannot be read as a Keras file"):
            find_weights(str(path))


def test_files_that_do_not_say_which_layer_is_which_are_refused(tmp_path):
    path = tmp_path / "nameless.weights.h5"
    with h5py.File(path, "w") as opened:
        opened.create_dataset("layers/conv2d/vars/0", (7, 7, 3, 64), "f4")
    with pytest.raises(CheckpointError, match="omitted the names of the layers; load it there and save it"):
        find_weights(str(path))
    path = tmp_path / "twice.h5"
    with h5py.File(path, "w") as opened:
        for model in ("one", "other"):
            opened.create_dataset(f"{model}/conv1_conv/kernel:0", (7, 7, 3, 64), "f4")
    with pytest.raises(CheckpointError, match="holds conv1_conv/kernel twice; save the model that you want"):
        find_weights(str(path))


def test_it_is_a_start_and_not_a_network(deeper):
    for use in (lambda: load_network(find_weights(deeper)), lambda: load_teacher(deeper)):
        with pytest.raises(CheckpointError, match=r"a run can only start: .*pass it to --checkpoint"):
            use()
    config = ExperimentConfig(
        training=TrainingConfig(train_mode="distill"), distillation=DistillationConfig(teacher=deeper)
    )
    assert adopt(config).model.resnet_depth == config.model.resnet_depth


def test_another_architecture_is_refused_and_changes_nothing(deeper):
    network = built()
    before = [variable.numpy() for variable in network.variables]
    with pytest.raises(CheckpointError, match=r"of another architecture: .*set --resnet_depth=101 \(here it"):
        load_weights(network, deeper)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_images_too_small_for_its_first_layer_are_refused(deeper):
    with pytest.raises(ConfigError, match=r"image_size is 32, but .* has another stem; use at least 33"):
        adopt(run_of(deeper, image_size=32), {"image_size"})
