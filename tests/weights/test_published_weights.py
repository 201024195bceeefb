"""Published checkpoints in their three forms are recognized, compute the published numbers, and go back."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assert_endpoint_matches, image, load, value
from tests.published_checkpoints import (
    OBJECT_GRAPH,
    SUFFIX,
    Row,
    listed_rows,
    published_objects,
    saved_model_rows,
    shapes_by_name,
    tf1_rows,
    write_checkpoint,
    zeros,
)
from tests.training.small_runs import Lines, config_for
from tf_simclrv2 import (
    CheckpointError,
    ConfigError,
    DataConfig,
    ExperimentConfig,
    ExportError,
    ModelConfig,
    SimCLR,
    TrainingConfig,
    load_published_weights,
    progress,
    save_module,
    save_published_checkpoint,
)
from tf_simclrv2.export.convert import convert
from tf_simclrv2.export.convert_config import ConvertConfig
from tf_simclrv2.files import CONFIG_FILE
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.run import Run
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.weights.loading import find_weights, load_network, load_weights
from tf_simclrv2.weights.published_architecture import is_model_variable, read_architecture
from tf_simclrv2.weights.published_names import PublishedName, name_variables

CONFIGS = load("configs")
TF1_CONFIGS = ("r18_32px", "r50_64px", "r50_sk_64px")
# The keys under which the published training checkpoint holds the model.
MODEL_ROWS = [
    row
    for row in listed_rows("checkpoint_r18_keys")
    if row.key.startswith("model/") and "SLOT" not in row.key
]
HEAD = ((0, 512), (1, 512), (2, 128))
# Some of the momentum that TF1 pretraining leaves.
SLOTS = [
    Row("base_model/conv2d/kernel/Momentum", (3, 3, 3, 64), "slot"),
    Row("head_supervised/linear_layer/dense/bias/Momentum_1", (10,), "slot"),
    *(Row(f"head_contrastive/nl_{i}/batch_normalization/gamma/Momentum", (n,), "slot") for i, n in HEAD),
]


def architecture(config: str) -> ModelConfig:
    """What a config's checkpoint tells: everything but the exact image size."""
    model = ModelConfig(num_classes=10, **CONFIGS[config])
    return dataclasses.replace(model, image_size=32 if model.cifar_stem else 224)


def write(form: str, prefix: pathlib.Path, make=value, change=list) -> str:
    """Writes r18_32px in one of the forms, its rows changed; returns the path to load from."""
    if form == "tf1":
        return write_checkpoint(prefix, change(tf1_rows("r18_32px") + SLOTS), make, graph=False)
    listing = {"saved_model": "savedmodel_r18_keys", "tf2": "checkpoint_r18_keys"}[form]
    if form == "saved_model":
        write_checkpoint(prefix / "variables" / "variables", change(listed_rows(listing)), make)
        return str(prefix)
    return write_checkpoint(prefix, change(listed_rows(listing)), make)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """r18_32px in the three forms, by name."""
    folder = tmp_path_factory.mktemp("published")
    names = {"tf1": "model.ckpt-250228", "tf2": "ckpt-1", "saved_model": "hub"}
    return {form: write(form, folder / form / name) for form, name in names.items()}


# What is recognized.


@pytest.mark.parametrize("config", CONFIGS)
def test_the_architecture_from_tf2_names(config):
    shapes = shapes_by_name(saved_model_rows(config))
    read = read_architecture(shapes, global_bn=CONFIGS[config].get("global_bn", True))
    assert read.model == architecture(config)
    assert read.classifier_layers == (0, 1, 2)


@pytest.mark.parametrize("config", TF1_CONFIGS)
def test_the_architecture_from_tf1_names(config):
    shapes = {
        name: shape for name, shape in shapes_by_name(tf1_rows(config)).items() if name != "global_step"
    }
    assert read_architecture(shapes).model == architecture(config)


def test_the_architecture_from_attribute_paths():
    shapes = {row.key.removeprefix("model/").removesuffix(SUFFIX): row.shape for row in MODEL_ROWS}
    assert read_architecture(shapes).model == architecture("r18_32px")


@pytest.mark.parametrize(
    "changes",
    [
        {"resnet_depth": 101},
        {"resnet_depth": 200, "width_multiplier": 2, "sk_ratio": 0.0625},
        {"sk_ratio": 0.25, "image_size": 32, "width_multiplier": 3},
        {"sk_ratio": 0.5},
        {"sk_ratio": 0.0703125, "width_multiplier": 3, "se_ratio": 0.25},
        {"resnet_depth": 34, "sk_ratio": 0.0625, "se_ratio": 0.5},
        {"proj_head_mode": "linear", "proj_out_dim": 64},
        {"num_proj_layers": 2},
        {"num_proj_layers": 4, "num_classes": 0},
    ],
)
@pytest.mark.parametrize("naming", ["tf2", "attributes", "tf1"])
def test_other_architectures(changes, naming):
    model = ModelConfig(**changes)
    model = dataclasses.replace(model, image_size=32 if model.cifar_stem else 224)
    if naming == "attributes" and model.proj_head_mode == "linear":
        # By its path a linear head is a nonlinear one of one layer, which is the same function.
        model = dataclasses.replace(model, proj_head_mode="nonlinear", num_proj_layers=1)
    shapes = {getattr(name, naming): shape for name, shape in abstract_shapes(ModelConfig(**changes)).items()}
    assert read_architecture(shapes).model == model


@functools.cache
def abstract_shapes(model: ModelConfig) -> dict[PublishedName, tuple[int, ...]]:
    """Shapes of a network's variables; in a graph of TensorFlow 1 nothing is allocated."""
    with tf.Graph().as_default():
        network = SimCLR(model)
        network.build((None, 64, 64, 3))
        variables = named_variables(network)
        return {name: tuple(variables[name.path].shape) for name in name_variables(network)}


def test_the_largest_network_of_the_paper():
    """Its 795 million parameters (SimCLRv2 Table 1) are never allocated."""
    model = ModelConfig(resnet_depth=152, width_multiplier=3, sk_ratio=0.0625)
    shapes = {name.tf1: shape for name, shape in abstract_shapes(model).items()}
    encoder = [np.prod(shape) for name, shape in shapes.items() if name.startswith("base_model/")]
    assert sum(encoder) == pytest.approx(795e6, rel=2e-3)
    assert read_architecture(shapes).model == model


def without(*names: str):
    return lambda shapes: {k: s for k, s in shapes.items() if not any(name in k for name in names)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("nl_"), {"proj_head_mode": "none"}),
        (without("nl_1", "nl_2"), {"truncate_proj_head": True, "ft_proj_selector": 1}),
        (without("nl_2"), {"truncate_proj_head": True, "ft_proj_selector": 2}),
        (without("head_supervised"), {"num_classes": 0}),
        (
            lambda shapes: {**shapes, "head_supervised/linear_layer/dense/kernel": (128, 10)},
            {"ft_proj_selector": 3},
        ),
    ],
)
def test_the_layer_under_the_classifier(change, expected):
    shapes = change(shapes_by_name(row for row in tf1_rows("r18_32px") if row.shape))
    read = read_architecture(shapes)
    assert read.model == dataclasses.replace(architecture("r18_32px"), **expected)
    assert len(read.classifier_layers) == 1 or not expected.get("ft_proj_selector")


def test_the_layer_under_the_classifier_can_be_said(published, tmp_path):
    network = load_published_weights(published["tf1"], ft_proj_selector=1)
    assert network.config == dataclasses.replace(architecture("r18_32px"), ft_proj_selector=1)
    endpoints = network(image(2, 32, 3, 7))
    kernel, bias = (value(f"head_supervised/linear_layer/dense/{v}", s) for v, s in WEIGHTS_OF_CLASSIFIER)
    np.testing.assert_allclose(
        endpoints["logits_sup"], endpoints["proj_head_1"] @ kernel + bias, rtol=1e-4, atol=1e-4
    )
    with pytest.raises(
        ConfigError, match=r"ft_proj_selector is 3, but the classifier fits layer\(s\) 0, 1, 2"
    ):
        load_published_weights(published["tf1"], ft_proj_selector=3)


WEIGHTS_OF_CLASSIFIER = (("kernel", (512, 10)), ("bias", (10,)))


@pytest.mark.parametrize(("trained", "selector"), [((), 0), (("nl_0",), 1), (("nl_0", "nl_1"), 2)])
def test_the_layer_under_the_classifier_from_momentum(tmp_path, trained, selector):
    """Fine-tuning leaves momentum of what it trains: the encoder, the layers in use and the classifier."""

    def fine_tuned(rows):
        places = {f"linear_layers/{i}/": f"nl_{i}" for i in range(3)}
        return [row for row in rows if not is_slot(row) or layer_of(row, places) in (None, *trained)]

    def is_slot(row):
        return row.key.removesuffix(SUFFIX).endswith("Momentum")

    def layer_of(row, places):
        return next((layer for place, layer in places.items() if place in row.key or layer in row.key), None)

    path = write("tf2", tmp_path / "ckpt-1", zeros, fine_tuned)
    weights = find_weights(path)
    assert weights.model.ft_proj_selector == selector
    assert not weights.doubt
    # So a run may begin with the classifier, if it reads the same layer and no label is held back.
    assert classifier_left(path, selector, labels_per_class=0) == ""
    assert classifier_left(path, (selector + 1) % 3) == f"reads head layer {selector} in the checkpoint, " + (
        f"{(selector + 1) % 3} here"
    )
    few = classifier_left(path, selector, labels_per_class=7)
    assert few == f"saw labels that this run may not use: those of {path}, which are not known"


def test_fine_tuning_in_tf1_does_not_show_the_layer(tmp_path):
    """It leaves momentum of the encoder and the classifier, and of no layer of the head."""

    def fine_tuned(rows):
        model = [row for row in rows if row.shape and row not in SLOTS]
        trained = [row for row in model if "moving" not in row.key and "head_contrastive" not in row.key]
        return model + [row._replace(key=f"{row.key}/Momentum") for row in trained]

    path = write("tf1", tmp_path / "model.ckpt-1", zeros, fine_tuned)
    weights = find_weights(path)
    assert weights.published.stage == "finetune" and weights.published.classifier_layers == (0, 1, 2)
    assert weights.doubt.startswith("the classifier fits layers 0, 1, 2 of the head; layer 0 is used")
    assert classifier_left(path, 0).startswith("fits head layers 0, 1, 2, and the checkpoint does not say")
    chosen = find_weights(path, "checkpoint", 1)
    assert chosen.published.classifier_layers == (1,) and not chosen.doubt


def classifier_left(path, selector, **data) -> str:
    """Why fine-tuning from a head layer does not begin with the classifier; empty where it does."""
    model = dataclasses.replace(architecture("r18_32px"), ft_proj_selector=selector, truncate_proj_head=True)
    run = ExperimentConfig(
        model=model, data=DataConfig(**data), training=TrainingConfig(train_mode="finetune")
    )
    network = SimCLR(model, name="simclr")
    network.build((None, 32, 32, 3))
    report = load_weights(network, path, run, [f"class {i}" for i in range(10)])
    assert ("supervised_head/kernel" in report.loaded) == ("supervised_head/kernel" not in report.left)
    return report.left.get("supervised_head/kernel", "")


def test_the_classifier_of_a_published_pretraining_stays_behind(published, tmp_path):
    """Pretraining leaves momentum of the classifier and of the whole head."""
    path = write("tf2", tmp_path / "ckpt-1", zeros)
    assert find_weights(path).published.stage == "pretrain"
    reason = "is the online classifier of pretraining, trained with the labels of ImageNet"
    assert classifier_left(path, 0) == reason
    assert find_weights(published["saved_model"]).published.stage == "unknown"
    assert classifier_left(published["saved_model"], 0) == (
        "fits head layers 0, 1, 2, and the checkpoint does not say which it was trained on; "
        "python -m export.convert --ft_proj_selector=N does"
    )


@pytest.mark.parametrize(
    "name",
    [
        "global_step",
        "base_model/conv2d/kernel/Momentum",
        "base_model/conv2d/kernel/LARSOptimizer_1",
        "head_supervised/linear_layer/dense/kernel/ExponentialMovingAverage",
        "beta1_power",
    ],
)
def test_what_belongs_to_an_optimizer(name):
    assert not is_model_variable(name)


# What is computed.


def test_the_rule_of_saved_model_keys_is_the_listing():
    """So that the other configs' SavedModels below are as independent of our code as the listing."""
    ours = {row.name: row for row in saved_model_rows("r18_32px")}
    assert {row.name: row for row in listed_rows("savedmodel_r18_keys")} == {
        name: row._replace(key=row.key.replace("head_supervised", "supervised_head"))
        for name, row in ours.items()
    }


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        ("r18_32px", "float32"),
        ("r18_32px_localbn", "float32"),
        ("r50_sk_64px", "float32"),
        ("r18_32px", "float64"),
        ("r50_se_64px", "float64"),
    ],
)
def test_a_saved_model_computes_the_published_numbers(tmp_path, config, precision):
    write_checkpoint(tmp_path / "variables" / "variables", saved_model_rows(config))
    network = load_published_weights(str(tmp_path), precision)
    assert network.config == architecture(config)
    assert_published_numbers(network, config, precision)


def assert_published_numbers(network: SimCLR, config: str, precision: str = "float32") -> None:
    golden = load("forward")["configs"][config]["inference"]
    spec = golden["input"]
    endpoints = network(
        tf.cast(image(spec["batch"], spec["size"], 3, spec["seed"]), precision), training=False
    )
    for name, want in golden["endpoints"].items():
        if name in endpoints:
            tolerance = 1e-9 if precision == "float64" else 1e-5
            assert_endpoint_matches(endpoints[name], want, precision, tolerance, name)


def test_a_training_checkpoint_computes_the_published_numbers(published):
    network = load_published_weights(published["tf2"])
    assert network.config == architecture("r18_32px")
    assert_published_numbers(network, "r18_32px")


@pytest.mark.parametrize("config", TF1_CONFIGS)
def test_a_tf1_checkpoint_computes_the_published_numbers(tmp_path, config):
    prefix = write_checkpoint(tmp_path / "model.ckpt-9", tf1_rows(config), graph=False)
    network = load_published_weights(prefix)
    assert network.config == architecture(config)
    golden = load("tf1")["configs"][config]
    endpoints = network(image(2, CONFIGS[config]["image_size"], 3, 7), training=False)
    for name, want in golden.items():
        found = np.asarray(endpoints[name])
        assert np.linalg.norm(found) == pytest.approx(want["norm"], rel=1e-5), name
        limit = 1e-5 * want["norm"] / np.sqrt(found.size)
        np.testing.assert_allclose(found.ravel()[: len(want["first"])], want["first"], rtol=0, atol=limit)


def test_a_directory_of_checkpoints(published, tmp_path):
    folder = pathlib.Path(published["tf1"]).parent
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-250228"\n')
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    assert find_weights(str(tmp_path)).model == architecture("r18_32px")


# Back out.


@pytest.fixture(scope="module")
def written_back(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("back")
    return save_published_checkpoint(load_published_weights(published["saved_model"]), str(folder / "ckpt-0"))


def test_what_is_written_is_what_the_published_program_writes(written_back):
    reader = tf.train.load_checkpoint(written_back)
    found = {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}
    assert found.pop(OBJECT_GRAPH) == ()
    assert found == {row.key: row.shape for row in MODEL_ROWS}
    for row in MODEL_ROWS:
        np.testing.assert_array_equal(reader.get_tensor(row.key), value(row.name, row.shape), row.name)


def test_the_published_objects_restore_it(written_back):
    variables = {
        row.key.removeprefix("model/").removesuffix(SUFFIX): tf.Variable(zeros(row.name, row.shape))
        for row in MODEL_ROWS
    }
    model = published_objects(variables)
    tf.train.Checkpoint(model=model).read(written_back).assert_consumed()
    for row in MODEL_ROWS:
        variable = variables[row.key.removeprefix("model/").removesuffix(SUFFIX)]
        np.testing.assert_array_equal(variable, value(row.name, row.shape), row.name)


def test_what_is_written_can_be_read_again(written_back):
    assert_published_numbers(load_published_weights(written_back), "r18_32px")


# What is refused.


def drop(name: str):
    return lambda rows: [row for row in rows if name not in row.key and name not in row.name]


def add(key: str, name: str):
    return lambda rows: [*rows, Row(key, (64,), name)]


def reshape(name: str):
    return lambda rows: [row._replace(shape=(7,)) if row.name.endswith(name) else row for row in rows]


TF2_MEAN = "block_group3/residual_block_4/batch_norm_relu_12/sync_batch_normalization_12/moving_mean"


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("tf1", drop("nl_1/dense/kernel"), r"lacks 1 .*the first head_contrastive/nl_1/dense/kernel"),
        ("tf1", drop("batch_normalization_7/beta"), r"lacks 1 .*base_model/batch_normalization_7/beta"),
        ("saved_model", drop(TF2_MEAN), rf"a TF2 SavedModel, .*lacks 1 .*resnet/{TF2_MEAN}"),
        (
            "tf2",
            drop("dense_3/bias"),
            r"a TF2 checkpoint, .*lacks 1 .*head_supervised/linear_layer/dense_3/bias",
        ),
        ("tf1", drop("base_model/conv2d_12/kernel"), "lacks 1 .*base_model/conv2d_12/kernel"),
        ("tf2", drop("nl_2/batch_norm_relu_23"), "lacks 3 .*projection_head/nl_2/batch_norm_relu_23/"),
        ("tf1", reshape("base_model/conv2d_12/kernel"), r"conv2d_12/kernel \(.*\) has shape \(7,\)"),
        ("tf1", reshape("linear_layer/dense/kernel"), r"linear_layer/dense/kernel \(.*\) has shape \(7,\)"),
        ("tf1", reshape("nl_2/dense/kernel"), r"nl_2/dense/kernel \(.*\) has shape \(7,\), not \(512, 128\)"),
        (
            "tf1",
            add(key := "base_model/batch_normalization_99/gamma", key),
            "has unexpected 1 .*base_model/batch_normalization_99/gamma",
        ),
        ("tf2", add(f"model/more{SUFFIX}", "resnet/more/gamma"), "has unexpected 1 .*resnet/more/gamma"),
        (
            "tf1",
            reshape("base_model/batch_normalization_12/gamma"),
            r"batch_normalization_12/gamma \(.*\) has shape \(7,\), not \(256,\)",
        ),
        (
            "saved_model",
            reshape(TF2_MEAN),
            r"variables/\d+ \(resnet/block_group3/block_1/norm_1/moving_mean here\) has shape \(7,\), "
            r"not \(256,\)",
        ),
        ("tf1", drop("conv2d/kernel"), "no convolution of RGB images"),
        (
            "tf1",
            lambda rows: [r._replace(shape=(77, 10)) if r.shape == (512, 10) else r for r in rows],
            "the classifier takes 77 features, but the layers of the head have 512, 512, 512, 128",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, form, change, message):
    path = write(form, tmp_path / "ckpt-1", zeros, change)
    with pytest.raises(CheckpointError, match=message):
        load_published_weights(path)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".index", truncate),
        (".index", lambda path: path.write_bytes(b"")),
        (".data-00000-of-00001", truncate),
        (".data-00000-of-00001", pathlib.Path.unlink),
    ],
)
def test_a_damaged_checkpoint(tmp_path, suffix, damage):
    path = write("tf1", tmp_path / "model.ckpt-1", zeros)
    damage(pathlib.Path(path + suffix))
    with pytest.raises(CheckpointError, match=r"model.ckpt-1 cannot be read .*fetch it again"):
        load_published_weights(path)


@pytest.mark.parametrize("kind", ["ours", "tf1", "tf2"])
def test_a_checkpoint_of_another_program(tmp_path, kind):
    path = str(tmp_path / "ckpt-1")
    if kind == "ours":
        path = str(tmp_path)
        network = SimCLR(ModelConfig(resnet_depth=18, image_size=8))
        network.build((None, 8, 8, 3))
        save_module(network, path)
    elif kind == "tf1":
        write_checkpoint(tmp_path / "ckpt-1", [Row("dense/kernel", (3, 4), "dense/kernel")], graph=False)
    else:
        loop = tf.Module()
        loop.model, loop.weight = loop, tf.Variable(1.0, name="weight")
        tf.train.Checkpoint(model=loop).write(path)
    with pytest.raises(CheckpointError, match="in none of the published forms"):
        load_published_weights(path)


# In a run.


def test_fine_tuning_from_a_published_checkpoint(published, tmp_path):
    keras.backend.clear_session()
    config = config_for(
        tmp_path / "run",
        train_mode="finetune",
        checkpoint=published["tf1"],
        zero_init_logits_layer=True,
        ft_proj_selector=1,
        resnet_depth=50,
    )
    config = adopt(config, {"checkpoint", "train_mode", "ft_proj_selector", "image_size"})
    assert config.model.resnet_depth == 18
    lines = Lines()
    network = Run(config, say=lines).task.network
    np.testing.assert_array_equal(
        network.resnet.stem.convs[0].kernel, value("base_model/conv2d/kernel", (3, 3, 3, 64))
    )
    np.testing.assert_array_equal(
        network.projection_head.norms[0].moving_mean,
        value("head_contrastive/nl_0/batch_normalization/moving_mean", (512,)),
    )
    np.testing.assert_array_equal(network.supervised_head.kernel, np.zeros((512, 10)))
    assert f"variables loaded from {published['tf1']}" in lines
    assert "not used by this network: projection_head/dense_2, projection_head/dense_3" in lines


def test_an_architecture_that_the_user_said_wrongly(published, tmp_path):
    config = config_for(
        tmp_path / "run", train_mode="finetune", checkpoint=published["saved_model"], width_multiplier=2
    )
    with pytest.raises(CheckpointError, match=r"--width_multiplier=1 \(here it is 2\)"):
        Run(config, say=Lines())


@pytest.mark.parametrize("form", ["tf1", "tf2"])
def test_a_published_checkpoint_teaches(published, form):
    teacher = load_teacher(published[form])
    logits = np.asarray(teacher.predict(tf.constant(image(2, 32, 3, 7))))
    assert teacher.num_classes == 10 and logits.shape == (2, 10)
    assert "the classifier fits layers 0, 1, 2 of the head; layer 0 is used" in teacher.doubt
    if form == "tf1":
        golden = load("tf1")["configs"]["r18_32px"]["logits_sup"]
        assert np.linalg.norm(logits) == pytest.approx(golden["norm"], rel=1e-5)
    else:
        want = load("forward")["configs"]["r18_32px"]["inference"]["endpoints"]["logits_sup"]
        assert_endpoint_matches(logits, want, "float32", 1e-5)


def test_distilling_from_a_published_checkpoint(published, tmp_path):
    keras.backend.clear_session()
    run = Run(config_for(tmp_path / "run", train_mode="distill", teacher=published["tf2"]))
    assert "teacher: the classifier fits layers 0, 1, 2" in run.plan.describe()


# The program.


@pytest.mark.parametrize("form", ["tf1", "tf2", "saved_model"])
def test_converting_to_our_form(published, tmp_path, form):
    output = tmp_path / "converted"
    said = convert(ConvertConfig(published[form], str(output), ft_proj_selector=1 if form == "tf1" else None))
    assert said.startswith("ResNet-18 1x, CIFAR stem, 3-layer head to 128, 10 classes on layer")
    assert "121 variables from" in said
    assert ("global_step" in said) == (form != "saved_model")
    assert ("layer 0 is used" in said) == (form != "tf1")
    model = ExperimentConfig.from_json((output / CONFIG_FILE).read_text()).model
    assert model == dataclasses.replace(architecture("r18_32px"), ft_proj_selector=int(form == "tf1"))
    network = SimCLR(model, name="simclr")
    network.build((None, 32, 32, 3))
    report = load_weights(network, str(output))
    assert len(report.loaded) == 119 and len(report.left) == 2 and not report.unused
    network = load_network(find_weights(str(output)))
    if form != "tf1":
        assert_published_numbers(network, "r18_32px")


def test_a_run_of_ours_in_the_published_form(tmp_path, monkeypatch, capsys):
    model = ModelConfig(resnet_depth=18, image_size=8, num_classes=10, zero_init_logits_layer=True)
    network = SimCLR(model, name="simclr")
    network.build((None, 8, 8, 3))
    for name in name_variables(network):
        variable = named_variables(network)[name.path]
        variable.assign(value(name.tf2, variable.shape))
    save_module(network, str(tmp_path / "module"), ExperimentConfig(model=model))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    convert(ConvertConfig(str(tmp_path / "module"), str(tmp_path / "out"), "published"))
    assert "weights, variable 121 of 121: " in capsys.readouterr().out
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    for row in MODEL_ROWS:
        np.testing.assert_array_equal(reader.get_tensor(row.key), value(row.name, row.shape), row.name)


def test_an_existing_output_stays_unless_it_is_to_be_replaced(published, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine").write_text("precious")
    with pytest.raises(ExportError, match="which exists; choose another, or pass --overwrite"):
        convert(ConvertConfig(published["tf1"], str(output)))
    with pytest.raises(ExportError, match="which holds 'mine' and so is not an export"):
        convert(ConvertConfig(published["tf1"], str(output), overwrite=True))
    assert (output / "mine").read_text() == "precious"
    convert(ConvertConfig(published["tf1"], f"{tmp_path}/converted"))
    written = (tmp_path / "converted" / "ckpt-0.index").stat().st_mtime_ns
    with pytest.raises(CheckpointError, match="nothing', which does not exist; pass"):
        convert(ConvertConfig(str(tmp_path / "nothing"), f"{tmp_path}/converted", overwrite=True))
    assert (tmp_path / "converted" / "ckpt-0.index").stat().st_mtime_ns == written
    convert(ConvertConfig(published["tf1"], f"{tmp_path}/converted/", overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "out"]
    assert (tmp_path / "converted" / "ckpt-0.index").stat().st_mtime_ns > written


def test_weights_of_unknown_architecture_are_not_converted(tmp_path):
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=8))
    network.build((None, 8, 8, 3))
    save_module(network, str(tmp_path / "module"))
    (tmp_path / "module" / "simclr.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json next to it"):
        convert(ConvertConfig(str(tmp_path / "module"), str(tmp_path / "out")))
    with pytest.raises(CheckpointError, match=r"no config\.json next to it"):
        load_teacher(str(tmp_path / "module" / "variables" / "variables"))


def test_from_the_command_line(published, tmp_path):
    def program(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "export.convert", *arguments]
        root = pathlib.Path(__file__).resolve().parents[2]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)

    arguments = (f"--input={published['tf2']}", f"--output={tmp_path / 'out'}", "--format=published")
    done = program(*arguments)
    assert done.returncode == 0, done.stderr
    assert "121 variables from" in done.stdout
    keys = {name for name, _ in tf.train.list_variables(str(tmp_path / "out"))}
    assert {row.key for row in MODEL_ROWS} == {key for key in keys if key.startswith("model/")}
    again = program(*arguments)
    assert again.returncode == 1
    assert again.stderr.strip().endswith("which exists; choose another, or pass --overwrite.")
