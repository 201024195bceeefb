"""A classifier comes along only where it belongs; none has seen labels that a run may not use."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import image
from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import DataConfig, ExperimentConfig, ModelConfig, SimCLR, TrainingConfig, save_module
from tf_simclrv2.config import WITHOUT_CLASSIFIER, WITHOUT_HEADS, DistillationConfig
from tf_simclrv2.data import evaluation_batches, load_source
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import CLASS_NAMES_FILE, CONFIG_FILE
from tf_simclrv2.models.variable_paths import named_variables, variable_tree
from tf_simclrv2.training.run import Run
from tf_simclrv2.training.teacher import load_teacher
from tf_simclrv2.weights.classifier_origin import SeenLabels, labels_of
from tf_simclrv2.weights.loading import find_weights, load_network, load_weights
from tf_simclrv2.weights.run_config import read_config

CLASSES = 10
KERNEL = "supervised_head/kernel"


@pytest.fixture(scope="module")
def digits():
    """Evaluation images and their labels."""
    (batch,) = evaluation_batches(
        load_source(DataConfig(dataset="digits"), "test"), image_size=8, batch_size=360
    )
    return batch["image"], batch["label"].numpy()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A pretraining whose online classifier has learned from all labels."""
    directory = tmp_path_factory.mktemp("pretrained")
    config = config_for(
        directory,
        mode="train",
        train_split="train",
        use_blur=False,
        crop_min_area=0.7,
        color_jitter_strength=0.2,
        temperature=0.5,
        learning_rate=4.0,
        train_batch_size=32,
        train_steps=60,
        checkpoint_steps=60,
    )
    execute(config)
    return directory


def recall(logits, labels) -> np.ndarray:
    """Share of each class that is found."""
    right = np.argmax(logits, axis=1) == labels
    return np.array([right[labels == label].mean() for label in range(CLASSES)])


def chance_recalls(features, labels) -> np.ndarray:
    """What 500 random classifiers find on the same features."""
    kernels = np.random.default_rng(0).standard_normal([500, features.shape[1], CLASSES])
    return np.array([recall(features @ kernel, labels).mean() for kernel in kernels])


def loss_of(logits, labels) -> float:
    return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)))


def test_the_classifier_of_the_pretraining_knows_the_labels(pretrained, digits):
    """Otherwise the tests below could not see it leak."""
    network = load_network(find_weights(str(pretrained)))
    logits = network(digits[0], training=False)["logits_sup"]
    assert recall(logits, digits[1]).mean() > 0.4


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_fine_tuning_begins_at_chance_from_every_layer(pretrained, digits, tmp_path, layer):
    config = config_for(
        tmp_path / "run",
        train_mode="finetune",
        train_split="train",
        labels_per_class=2,
        checkpoint=str(pretrained),
        ft_proj_selector=layer,
    )
    lines = Lines()
    network = Run(config, say=lines).task.network
    logits = network(digits[0], training=False)["logits_sup"]
    # Images of a class go together, so chance has to be measured: that of classifiers of nobody's labels.
    features = network(digits[0], training=False)[f"proj_head_{layer}"].numpy()
    chance = chance_recalls(features, digits[1])
    assert chance.mean() == pytest.approx(1 / CLASSES, abs=0.02)
    assert abs(recall(logits, digits[1]).mean() - 1 / CLASSES) <= 3 * chance.std()
    assert loss_of(logits, digits[1]) == pytest.approx(np.log(CLASSES), abs=0.1)
    assert np.std(network.supervised_head.kernel) == pytest.approx(0.01, rel=0.1)
    reason = (
        "shape (512, 10) in the checkpoint, (128, 10) here"
        if layer == 3
        else "is the online classifier of pretraining, trained with the labels of digits/train"
    )
    assert f"left as initialized: {KERNEL} ({reason})" in lines
    assert "left as initialized: supervised_head/bias" in lines
    assert not (tmp_path / "run").exists()


def test_a_module_names_the_labels_of_its_training_after_any_evaluation(tmp_path):
    """It named those of the evaluation, and a classifier that has seen all passed for one that saw few."""
    changes = {"train_mode": "supervised", "train_steps": 1, "use_blur": False, "keep_hub_module_max": 1}
    config = config_for(tmp_path / "run", mode="train", **changes)
    execute(config)
    few = dataclasses.replace(config.data, train_split="train", labels_per_class=2)
    evaluation = dataclasses.replace(config, run=dataclasses.replace(config.run, mode="eval"), data=few)
    execute(evaluation)
    module = tmp_path / "run" / "saved_model" / "1"
    found = read_config(str(module))
    assert found is not None and labels_of(found) == labels_of(config) != labels_of(evaluation)
    before = (module / "simclr.json").read_bytes()
    execute(dataclasses.replace(evaluation, run=dataclasses.replace(evaluation.run, eval_name="few")))
    assert (module / "simclr.json").read_bytes() == before


# What `load_weights` decides, on weights that were never trained.

MODEL = ModelConfig(resnet_depth=18, image_size=8, num_classes=3, truncate_proj_head=True)
NAMES = ("blue", "green", "red")


def run_of(mode="finetune", layer=0, **changes) -> ExperimentConfig:
    model = dataclasses.replace(MODEL, ft_proj_selector=layer, truncate_proj_head=mode != "pretrain")
    data = DataConfig(**{"dataset": "digits", **changes})
    return ExperimentConfig(
        model=model,
        data=data,
        training=TrainingConfig(train_mode=mode),
        distillation=DistillationConfig(teacher="nowhere"),
    )


def network_of(run) -> SimCLR:
    network = SimCLR(run.model, name="simclr")
    network.build((None, 8, 8, 3))
    return network


@pytest.fixture
def saved(tmp_path):
    """Leaves weights, `config.json` and `labels.txt` as a run does, and returns where."""

    def save(run, names=NAMES, name="source"):
        path = tmp_path / name
        checkpoint = tf.train.Checkpoint(model=variable_tree(named_variables(network_of(run))))
        tf.train.CheckpointManager(checkpoint, str(path), max_to_keep=1).save(checkpoint_number=0)
        (path / CONFIG_FILE).write_text(run.to_json())
        if names:
            (path / CLASS_NAMES_FILE).write_text("".join(f"{name}\n" for name in names))
        return str(path)

    return save


def reason_for(path, run, names=NAMES) -> str:
    """Why the classifier is left, or empty where it is loaded; all of it is, or none."""
    network = network_of(run)
    before = network.supervised_head.kernel.numpy()
    report = load_weights(network, path, run, names)
    left = {name for name in report.left if name.startswith("supervised_head/")}
    assert len(left) == (0 if KERNEL in report.loaded else 2)
    assert np.array_equal(before, network.supervised_head.kernel.numpy()) == bool(left)
    reason = report.left.get(KERNEL, "")
    assert not reason or f"left as initialized: {KERNEL} ({reason})" in str(report)
    return reason


@pytest.mark.parametrize("mode", ["finetune", "supervised", "distill"])
def test_a_classifier_that_belongs_is_loaded(saved, mode):
    run = run_of(mode)
    assert reason_for(saved(run), run) == ""


def test_from_pretraining_it_stays_behind_whatever_the_run_may_use(saved):
    path = saved(run_of("pretrain", train_split="train[:50%]"))
    said = "is the online classifier of pretraining, trained with the labels of digits/train[:50%]"
    for run in (run_of(), run_of(labels_per_class=7), run_of("pretrain"), run_of("distill")):
        assert reason_for(path, run) == said


@pytest.mark.parametrize(("there", "here"), [(0, 1), (1, 0), (2, 1)])
def test_the_classifier_of_another_layer_stays_behind(saved, there, here):
    whole = dataclasses.replace(run_of(layer=there).model, truncate_proj_head=False)
    source = dataclasses.replace(run_of(layer=there), model=whole)
    said = f"reads head layer {there} in the checkpoint, {here} here"
    assert reason_for(saved(source), run_of(layer=here)) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("blue", "green", "rot"), "class 2 is 'rot' in the checkpoint, 'red' here"),
        (("red", "green", "blue"), "class 0 is 'red' in the checkpoint, 'blue' here"),
        ((), "its class names are not known: there is no labels.txt next to the checkpoint"),
    ],
)
def test_other_class_names(saved, names, said):
    assert reason_for(saved(run_of(), names), run_of()) == said


@pytest.mark.parametrize(
    ("source", "run", "said"),
    [
        ({}, {"labels_per_class": 7}, "all of digits/train"),
        ({}, {"train_split": "train[:100]"}, "all of digits/train"),
        ({}, {"dataset": "mnist"}, "all of digits/train"),
        ({"labels_per_class": 7}, {}, ""),
        ({"labels_per_class": 7}, {"labels_per_class": 7}, ""),
        ({"labels_per_class": 7, "label_seed": 1}, {"label_seed": 2}, ""),
        ({"label_seed": 1}, {"label_seed": 2}, ""),
        (
            {"labels_per_class": 7, "label_seed": 1},
            {"labels_per_class": 7},
            "7 per class of digits/train (label_seed 1)",
        ),
        ({"label_fraction": 0.1}, {"label_fraction": 0.01}, "0.1 of all of digits/train (label_seed 0)"),
        (
            {"dataset": "image_folder", "data_dir": "a"},
            {"dataset": "image_folder", "data_dir": "./b/../a"},
            "",
        ),
    ],
)
def test_labels_that_the_run_may_not_use(saved, source, run, said):
    expected = said and f"saw labels that this run may not use: {said}"
    assert reason_for(saved(run_of(**source)), run_of(**run)) == expected


def test_a_student_has_seen_its_teachers_labels(saved, tmp_path):
    few = {"labels_per_class": 7}
    teachers = {name: saved(run_of(**data), name=name) for name, data in {"all": {}, "few": few}.items()}

    def student(teacher, alpha=1.0):
        distillation = DistillationConfig(teacher=teacher, distill_alpha=alpha)
        return dataclasses.replace(run_of("distill", **few), distillation=distillation)

    of_all, of_few = student(teachers["all"]), student(teachers["few"])
    drawn = SeenLabels("digits", "train", labels_per_class=7)
    assert labels_of(of_all) == (SeenLabels("digits", "train"),)
    assert labels_of(of_few) == (drawn,)
    assert labels_of(student(teachers["all"], 0.5)) == (SeenLabels("digits", "train"), drawn)
    assert reason_for(saved(of_few, name="student_of_few"), run_of(**few)) == ""
    said = "saw labels that this run may not use: all of digits/train"
    assert reason_for(saved(of_all, name="student_of_all"), run_of(**few)) == said
    # Self-distillation begins with its teacher's weights, whose labels reach it anyway.
    assert reason_for(teachers["few"], of_few) == ""
    assert reason_for(teachers["all"], of_few) == said
    gone = student(str(tmp_path / "gone"))
    said = f"saw labels that this run may not use: those of {tmp_path / 'gone'}, which are not known"
    assert reason_for(saved(gone, name="student_of_gone"), run_of(**few)) == said
    assert reason_for(str(tmp_path / "student_of_gone"), gone) == ""


def test_weights_of_unknown_origin(saved, tmp_path):
    path = saved(run_of())
    (tmp_path / "source" / CONFIG_FILE).unlink()
    assert reason_for(path, run_of()) == "of unknown origin: there is no config.json next to the checkpoint"


def test_a_run_that_is_not_known(saved):
    network = network_of(run_of())
    report = load_weights(network, saved(run_of()))
    assert report.left[KERNEL] == "the run that would use it is not known"


def test_a_step_and_a_module_are_as_well_known_as_a_model_dir(saved, tmp_path):
    path = saved(run_of())
    assert reason_for(f"{path}/ckpt-0", run_of()) == ""
    save_module(network_of(run_of()), str(tmp_path / "module"), run_of(), class_names=NAMES)
    assert reason_for(str(tmp_path / "module"), run_of()) == ""
    assert "'rot' here" in reason_for(f"{path}/ckpt-0", run_of(), ("blue", "green", "rot"))
    assert "'rot' here" in reason_for(str(tmp_path / "module"), run_of(), ("blue", "green", "rot"))


def test_variable_schema(saved):
    path = saved(run_of())
    for schema in (WITHOUT_CLASSIFIER, WITHOUT_HEADS):
        run = run_of()
        run = dataclasses.replace(run, run=dataclasses.replace(run.run, variable_schema=schema))
        assert reason_for(path, run) == "--variable_schema excludes it"
    with pytest.raises(
        ConfigError, match=r"variable_schema is '\?!global_step'; .* choose '\(\?!global_step"
    ):
        dataclasses.replace(run.run, variable_schema="?!global_step")
    for mode, layer in (("finetune", 1), ("pretrain", 0)):
        with pytest.raises(ConfigError, match=r"leaves the projection head .* this run uses [13] layer"):
            dataclasses.replace(run_of(mode, layer), run=run.run)


def test_teachers_resumed_runs_and_exports_keep_theirs(tmp_path, digits):
    config = config_for(
        tmp_path / "run", train_mode="supervised", train_steps=2, checkpoint_steps=1, keep_hub_module_max=1
    )
    _, _, run = execute(config)
    images = tf.constant(image(3, 8, 3, 2))
    expected = run.task.network(images, training=False)["logits_sup"]
    for path in ("run", "run/ckpt-2", "run/saved_model/2"):
        logits = load_teacher(str(tmp_path / path)).predict(images)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    more = dataclasses.replace(config, training=dataclasses.replace(config.training, train_steps=3))
    _, lines, resumed = execute(more)
    assert "resuming from step 2 of 3" in lines
    begun = run.task.network.supervised_head.kernel.numpy()
    assert 0 < np.abs(resumed.task.network.supervised_head.kernel.numpy() - begun).max() < 0.1
    tuned = config_for(tmp_path / "tuned", train_mode="finetune", ft_proj_selector=0, train_steps=2)
    tuned = dataclasses.replace(tuned, run=dataclasses.replace(tuned.run, checkpoint=str(tmp_path / "run")))
    lines = Lines()
    started = Run(tuned, say=lines).task.network
    assert "left as initialized" not in lines
    np.testing.assert_array_equal(started.supervised_head.kernel, resumed.task.network.supervised_head.kernel)
