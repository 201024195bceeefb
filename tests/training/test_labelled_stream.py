"""Distillation with labels: two streams, each with a batch size, a dataset and an order of its own."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.training.small_runs import config_for
from tf_simclrv2.config import ConfigError, DataConfig, ExperimentConfig
from tf_simclrv2.data import Share, SkippedImages, load_source
from tf_simclrv2.training.classes import Classes
from tf_simclrv2.training.run_plan import plan_run
from tf_simclrv2.training.stage_batches import StageBatches

TEACHER = Classes("the teacher", "", 10, "", tuple(map(str, range(10))))


def config(**changes) -> ExperimentConfig:
    distil = {"train_mode": "distill", "teacher": "unused", "distill_alpha": 0.5, "mode": "train"}
    return config_for(pathlib.Path("unused"), **{**distil, **changes})


def batches_of(plan) -> tf.data.Dataset:
    return StageBatches(plan, SkippedImages(1000)).training({}, Share())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_epochs_are_those_of_the_unlabelled_images(alpha: float) -> None:
    changes = {"train_steps": 0, "train_epochs": 3, "labelled_batch_size": 4, "labels_per_class": 1}
    plan = plan_run(config(distill_alpha=alpha, **changes), 1, TEACHER)
    seen = [batch["key"].numpy() for batch in batches_of(plan).take(plan.steps)]
    assert sum(map(len, seen)) == pytest.approx(3 * 40, abs=15)  # Whole batches of 16.
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(16 * plan.steps))


def test_labelled_images_have_a_batch_size_of_their_own() -> None:
    plan = plan_run(config(labelled_batch_size=4, labels_per_class=1), 1, TEACHER)
    batch = next(iter(batches_of(plan)))
    assert batch["image"].shape[0] == 16
    assert batch["labelled_image"].shape[0] == batch["label"].shape[0] == 4
    assert "4 labelled images" in plan.describe()
    alike = next(iter(batches_of(plan_run(config(labels_per_class=1), 1, TEACHER))))
    assert alike["labelled_image"].shape[0] == 16


@pytest.mark.parametrize(
    "changes, replicas, cure",
    [
        ({"labelled_batch_size": 6}, 4, "use 4"),
        ({"labelled_batch_size": 6, "microbatch_size": 4}, 1, "use 4"),
    ],
)
def test_a_labelled_batch_that_cannot_be_shared_evenly(changes: dict, replicas: int, cure: str) -> None:
    with pytest.raises(ConfigError, match=f"labelled_batch_size is 6.*{cure}"):
        plan_run(config(labels_per_class=1, **changes), replicas, TEACHER)


@pytest.fixture
def pictures(tmp_path: pathlib.Path) -> pathlib.Path:
    """Unlabelled grey pictures, and one red one of each digit's class."""
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


def test_unlabelled_and_labelled_images_may_be_two_folders(pictures: pathlib.Path) -> None:
    plan = plan_run(
        config(
            dataset="image_folder",
            data_dir=str(pictures / "many"),
            labelled_data_dir=str(pictures / "few"),
            train_split="train",
            eval_split="train",
            labelled_batch_size=2,
            mode="train_then_eval",
        ),
        1,
        TEACHER,
    )
    assert plan.train_source.num_examples == 20 and not plan.train_source.has_labels
    assert plan.labelled_source is not None and plan.labelled_source.num_examples == 10
    assert plan.eval_source is not None and plan.eval_source.class_names == TEACHER.names
    batch = next(iter(batches_of(plan)))
    assert np.ptp(batch["image"].numpy(), axis=-1).max() == 0.0  # Grey.
    np.testing.assert_allclose(batch["labelled_image"][..., 0], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(batch["labelled_image"][..., 1], 0.0)


def test_only_distillation_has_labelled_images_of_their_own() -> None:
    with pytest.raises(ConfigError, match=r"labelled_data_dir is 'other'.*--data_dir"):
        config(train_mode="finetune", labelled_data_dir="other")
    with pytest.raises(ConfigError, match="labelled_batch_size is -1"):
        config(labelled_batch_size=-1)
