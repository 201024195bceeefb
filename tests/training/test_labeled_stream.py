"""Distillation with labels: two streams, each with a batch size, a dataset and an order of its own."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.image_files import write_images
from tests.training.small_runs import Lines, config_for, execute, weights_of
from tf_simclrv2.config import DataConfig, ExperimentConfig
from tf_simclrv2.data import BatchOptions, Share, SkippedImages, distillation_batches, load_source
from tf_simclrv2.errors import ConfigError, DataError
from tf_simclrv2.training.batches import StageBatches
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.model_dir.run_identity import changed_settings
from tf_simclrv2.training.plan import plan_run
from tf_simclrv2.training.run import Run
from tf_simclrv2.weights.classes import Classes, class_names_of

TEACHER = Classes("the teacher", "", 10, "", tuple(map(str, range(10))))


def config(**changes) -> ExperimentConfig:
    distil = {"train_mode": "distill", "teacher": "unused", "distill_alpha": 0.5, "mode": "train"}
    return config_for(pathlib.Path("unused"), **{**distil, **changes})


def batches_of(plan) -> tf.data.Dataset:
    return StageBatches(plan, SkippedImages(1000)).training({}, Share())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_epochs_are_those_of_the_unlabeled_images(alpha: float) -> None:
    changes = {"train_steps": 0, "train_epochs": 3, "labeled_batch_size": 4, "labels_per_class": 1}
    plan = plan_run(config(distill_alpha=alpha, **changes), 1, TEACHER)
    seen = [batch["key"].numpy() for batch in batches_of(plan).take(plan.steps)]
    assert sum(map(len, seen)) == pytest.approx(3 * 40, abs=15)  # Whole batches of 16.
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(16 * plan.steps))


def test_labeled_images_have_a_batch_size_of_their_own() -> None:
    plan = plan_run(config(labeled_batch_size=4, labels_per_class=1), 1, TEACHER)
    batch = next(iter(batches_of(plan)))
    assert batch["image"].shape[0] == 16
    assert batch["labeled_image"].shape[0] == batch["label"].shape[0] == 4
    assert "4 labeled images" in plan.describe()
    assert plan.config.images_per_step == 16 + 4
    alike = plan_run(config(labels_per_class=1), 1, TEACHER)
    assert next(iter(batches_of(alike)))["labeled_image"].shape[0] == 16
    assert alike.config.distillation.labeled_batch_size == 16 and alike.config.images_per_step == 32


@pytest.mark.parametrize(
    "changes, replicas, cure",
    [
        ({"labeled_batch_size": 6}, 4, "use 4"),
        ({"labeled_batch_size": 6, "microbatch_size": 4}, 1, "use 4"),
    ],
)
def test_a_labeled_batch_that_cannot_be_shared_evenly(changes: dict, replicas: int, cure: str) -> None:
    with pytest.raises(ConfigError, match=f"labeled_batch_size is 6.*{cure}"):
        plan_run(config(labels_per_class=1, **changes), replicas, TEACHER)


def test_classifiers_of_features_learn_the_labels_that_the_run_has() -> None:
    """And not those of the images that it distills on, which may be all."""
    changes = {"labels_per_class": 1, "keep_best": "knn", "validation_split": "test[30:50]"}
    plan = plan_run(config(labeled_split="train[40:]", **changes), 1, TEACHER)
    assert plan.fitted_source.num_examples == 10 < plan.train_source.num_examples


@pytest.fixture
def pictures(tmp_path: pathlib.Path) -> pathlib.Path:
    """Unlabeled gray pictures, and one red one of each digit's class."""
    names = load_source(DataConfig(dataset="digits"), "train").class_names
    for i in range(20):
        path = tmp_path / "many" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), 10 * i, np.uint8)).save(path)
    for name in names:
        path = tmp_path / "few" / name / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((9, 9, 3), (255, 0, 0), np.uint8)).save(path)
    return tmp_path


def test_unlabeled_and_labeled_images_may_be_two_folders(pictures: pathlib.Path) -> None:
    plan = plan_run(
        config(
            dataset="image_folder",
            data_dir=str(pictures / "many"),
            labeled_data_dir=str(pictures / "few"),
            train_split="train",
            eval_split="train",
            labeled_batch_size=2,
            mode="train_then_eval",
        ),
        1,
        TEACHER,
    )
    assert plan.train_source.num_examples == 20 and not plan.train_source.has_labels
    assert plan.labeled_source is not None and plan.labeled_source.num_examples == 10
    assert plan.eval_source is not None and plan.eval_source.class_names == TEACHER.names
    batch = next(iter(batches_of(plan)))
    assert np.ptp(batch["image"].numpy(), axis=-1).max() == 0.0  # Gray.
    np.testing.assert_allclose(batch["labeled_image"][..., 0], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(batch["labeled_image"][..., 1], 0.0)


def test_only_distillation_has_labeled_images_of_their_own() -> None:
    with pytest.raises(ConfigError, match=r"labeled_data_dir is 'other'.*--data_dir"):
        config(train_mode="finetune", labeled_data_dir="other")
    with pytest.raises(ConfigError, match="labeled_batch_size is -1"):
        config(labeled_batch_size=-1)


CLASSES = ("blue", "red")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with images of two classes, to train and to test on."""
    root = tmp_path_factory.mktemp("few")
    for split in ("train", "test"):
        for number, name in enumerate(CLASSES):
            write_images(root / split / name, 3, first=10 * number)
    return root


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with images of other classes."""
    root = tmp_path_factory.mktemp("animals")
    for name in ("cat", "dog", "horse"):
        write_images(root / name, 4)
    return root


def in_folders(model_dir: pathlib.Path, pool: pathlib.Path, few: pathlib.Path, **changes) -> ExperimentConfig:
    settings = {
        "train_mode": "distill",
        "teacher": "unused",
        "distill_alpha": 0.5,
        "dataset": "image_folder",
        "data_dir": str(pool),
        "labeled_data_dir": str(few),
        "train_split": "train",
        "eval_split": "test",
        "train_batch_size": 4,
        "labeled_batch_size": 6,
        "eval_batch_size": 4,
        "train_steps": 3,
    }
    return config_for(model_dir, **{**settings, **changes})


@pytest.fixture(scope="module")
def teacher(few: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Trained on the labeled images."""
    directory = tmp_path_factory.mktemp("teacher")
    labeled = {"train_mode": "supervised", "labeled_data_dir": None, "train_steps": 1, "mode": "train"}
    execute(in_folders(directory, few, few, **labeled))
    return str(directory)


def test_a_run_on_two_folders_is_resumed_and_evaluated(
    few: pathlib.Path, animals: pathlib.Path, teacher: str, tmp_path: pathlib.Path
) -> None:
    """Nobody looks at the labels of the unlabeled images, here of other classes."""
    config = in_folders(tmp_path / "run", animals, few, teacher=teacher)
    result, lines, run = execute(config)
    assert np.isfinite(result["eval/label_top_1_accuracy"])
    assert lines[0].endswith("12 images, unlabeled")
    assert run.plan.eval_source.num_examples == 6
    assert class_names_of(str(tmp_path / "run")) == CLASSES
    stored = weights_of(tmp_path / "run", 3)
    positions = {key.split("/")[1]: value for key, value in stored.items() if key.startswith("position/")}
    assert positions == {"key": 3 * 4, "labeled_key": 3 * 6}
    longer = dataclasses.replace(config, training=dataclasses.replace(config.training, train_steps=4))
    result, lines, _ = execute(longer)
    assert "resuming from step 3 of 4" in lines
    stored = weights_of(tmp_path / "run", 4)
    assert stored["position/labeled_key/.ATTRIBUTES/VARIABLE_VALUE"] == 4 * 6
    evaluation = ExperimentConfig(run=dataclasses.replace(config.run, mode="eval", eval_name="again"))
    again, *_ = execute(adopt(evaluation, {"mode", "model_dir", "eval_name"}))
    assert again["eval/label_top_1_accuracy"] == result["eval/label_top_1_accuracy"]


def test_self_distillation_on_other_images_begins_with_the_classifier_too(
    few: pathlib.Path, animals: pathlib.Path, teacher: str, tmp_path: pathlib.Path
) -> None:
    lines = Lines()
    changes = {"teacher": teacher, "checkpoint": teacher, "distill_alpha": 1.0}
    run = Run(in_folders(tmp_path / "run", animals, few, **changes), say=lines)
    assert "left as initialized" not in lines, lines
    stored = weights_of(pathlib.Path(teacher), 1)
    kernel = stored["model/supervised_head/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    np.testing.assert_array_equal(run.task.network.supervised_head.kernel, kernel)


def test_accuracies_of_images_whose_labels_the_student_learns_are_said_to_be_such(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    known = Classes("the teacher", "", 2, "", CLASSES)
    for alpha, noted in ((0.5, True), (1.0, False)):
        changes = {"labeled_split": "train", "eval_split": "train", "distill_alpha": alpha}
        plan = plan_run(in_folders(tmp_path, animals, few, **changes), 1, known)
        assert ("which is trained on" in plan.describe()) == noted


def test_labels_of_the_images_to_distill_on_are_not_probed_if_others_are_learned(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    known = Classes("the teacher", "", 2, "", CLASSES)
    other = plan_run(in_folders(tmp_path, animals, few, knn_epochs=1), 1, known)
    assert not other.train_source.has_labels and other.neighbors_are_known
    assert other.fitted_source is other.labeled_source
    assert other.class_names == other.labeled_source.class_names == CLASSES
    same = plan_run(in_folders(tmp_path, few / "train", few, knn_epochs=1), 1, known)
    assert same.neighbors_are_known


def test_an_evaluation_takes_the_labeled_images_that_there_are(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    known = Classes("the teacher", "", 2, "", CLASSES)
    config = in_folders(tmp_path / "run", animals, few, labels_per_class=5, mode="eval")
    assert plan_run(config, 1, known).fitted_source.num_examples == 6
    with pytest.raises(DataError, match="5 labels per class are requested"):
        plan_run(in_folders(tmp_path / "run", animals, few, labels_per_class=5), 1, known)


def test_a_file_names_the_labels_of_the_other_folder(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It was looked up among the images to distill on, which it does not name."""
    flat = tmp_path / "flat"
    shutil.copytree(few / "test", flat / "test")
    write_images(flat / "train", 4)
    (tmp_path / "labels.csv").write_text("path,label\ntrain/000.png,blue\ntrain/001.png,red\n")
    known = Classes("the teacher", "", 2, "", CLASSES)
    config = in_folders(tmp_path / "run", animals, flat, labels_from=str(tmp_path / "labels.csv"))
    plan = plan_run(config, 1, known)
    assert plan.labeled_source.num_examples == 2 and plan.labeled_source.class_names == CLASSES
    assert not plan.train_source.has_labels


def test_the_best_checkpoint_is_chosen_by_the_labels_of_the_other_folder(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    choice = {"keep_best": "knn", "validation_split": "test[3:]", "eval_split": "test[:3]"}
    known = Classes("the teacher", "", 2, "", CLASSES)
    plan = plan_run(in_folders(tmp_path, animals, few, **choice), 1, known)
    assert plan.fitted_source is plan.labeled_source and not plan.train_source.has_labels


def test_folders_that_are_not_classes_have_a_cure(
    few: pathlib.Path, animals: pathlib.Path, teacher: str, tmp_path: pathlib.Path
) -> None:
    """Nothing learns their labels, but those of an image folder are taken for classes."""
    alone = {"teacher": teacher, "distill_alpha": 1.0, "labeled_data_dir": None, "mode": "train"}
    with pytest.raises(DataError, match="name the labeled images with --labeled_data_dir"):
        Run(in_folders(tmp_path / "alone", animals, few, **alone))
    Run(in_folders(tmp_path / "cured", animals, few, **{**alone, "labeled_data_dir": str(few)}))


def test_labeled_images_of_classes_that_the_teacher_does_not_know(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    known = Classes("the teacher", "", 2, "use another", ("blue", "yellow"))
    with pytest.raises(DataError, match="label 1 is 'yellow' in the former and 'red' in the latter"):
        plan_run(in_folders(tmp_path, animals, few), 1, known)


def test_where_labeled_images_come_from() -> None:
    folder = DataConfig("image_folder", "pool", labeled_data_dir="few").labeled
    assert (folder.dataset, folder.data_dir) == ("image_folder", "few")
    same = DataConfig("cifar10", "tfds", labeled_dataset="cifar10_corrupted").labeled
    assert (same.dataset, same.data_dir) == ("cifar10_corrupted", "tfds")
    other = DataConfig("image_folder", "pool", labeled_dataset="cifar10").labeled
    assert (other.dataset, other.data_dir) == ("cifar10", None)  # Nothing is prepared among the pictures.
    with pytest.raises(ConfigError, match="labeled_data_dir is not set; pass --labeled_data_dir=DIR"):
        DataConfig("cifar10", "tfds", labeled_dataset="image_folder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labeled_data_dir": "nowhere"},
            r"'nowhere' does not exist; set .*--labeled_data_dir for labeled",
        ),
        ({"labeled_split": "nothing"}, "The split 'nothing' needs the folder"),
    ],
)
def test_labeled_images_that_are_not_there(
    few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path, changes: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        plan_run(in_folders(tmp_path, animals, few, **changes), 1)


def test_labeled_images_without_labels(
    few: pathlib.Path, pictures: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = in_folders(tmp_path / "run", few, pictures / "many", mode="train")
    with pytest.raises(DataError, match="many/train has no labels, but distill_alpha below 1 needs them"):
        plan_run(config, 1)


def test_labeled_images_may_move(few: pathlib.Path, animals: pathlib.Path, tmp_path: pathlib.Path) -> None:
    before = in_folders(tmp_path, animals, few)
    assert not changed_settings(before, in_folders(tmp_path, animals, few, labeled_data_dir="moved"))
    (change,) = changed_settings(before, in_folders(tmp_path, animals, few, labeled_batch_size=4))
    assert change.startswith("--labeled_batch_size=6")


def test_labeled_images_that_cannot_be_read_end_the_run(few: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """They are too few to reach the limit of the others, and an endless stream would wait forever."""
    write_images(tmp_path / "blue", 2)
    write_images(tmp_path / "red", 2)
    pool, broken = (DataConfig("image_folder", str(folder)) for folder in (few, tmp_path))
    skipped = SkippedImages(1000, 0.5)
    sources = load_source(pool, "train"), load_source(broken, "train")
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"no image")
    batches = distillation_batches(*sources, pool, BatchOptions(8, 2, skipped=skipped))
    with pytest.raises(DataError, match="4 images are unreadable, but at most 2 may"), skipped.explained():
        next(iter(batches))
    assert skipped.count == len(skipped.names) >= 3


@pytest.mark.parametrize("in_memory", [False, True])
def test_both_streams_of_the_same_images_have_orders_of_their_own(
    tmp_path: pathlib.Path, in_memory: bool
) -> None:
    """Else each step would learn the label of the very image that it distills on."""
    tones = {f"train/{'ab'[n % 2]}/{n}.png": n for n in range(40)}
    for name, tone in tones.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full([8, 8, 3], 6 * tone, np.uint8)).save(tmp_path / name)
    data = DataConfig(dataset="image_folder", data_dir=str(tmp_path), cache_dataset=in_memory)
    source = load_source(data, "train")
    batches = distillation_batches(source, source, data, BatchOptions(8, 10))
    seen = {name: [] for name in ("image", "labeled_image")}
    for batch in batches.take(8):
        for name, tones_seen in seen.items():
            tones_seen += np.rint(batch[name].numpy().mean(axis=(1, 2, 3)) * 255 / 6).astype(int).tolist()
    for tones_seen in seen.values():  # Both visit each image once in each epoch.
        assert sorted(tones_seen[:40]) == sorted(tones_seen[40:]) == list(range(40))
    same = np.mean(np.array(seen["image"]) == np.array(seen["labeled_image"]))
    assert same < 0.2  # By chance a fortieth.
