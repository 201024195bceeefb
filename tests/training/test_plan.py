"""What a run will do follows from its data, whichever part of it is done now."""

from __future__ import annotations

import pathlib

import pytest

from tests.data.image_files import write_images
from tests.training.small_runs import config_for, execute
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.training import run_report
from tf_simclrv2.training.plan import plan_run, refuse_uneven_batches
from tf_simclrv2.weights.classes import class_names_of

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def pictures(tmp_path: pathlib.Path) -> pathlib.Path:
    """Loose pictures, of which a file labels six and lacks a class; those to test on have all classes."""
    root = tmp_path / "pictures"
    write_images(root / "train", 40)
    for first, name in enumerate(CLASSES):
        write_images(root / "test" / name, 4, first=50 + 4 * first)
    rows = [f"train/{number:03}.png,{CLASSES[number % 2]}" for number in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    return root


def few_labels(pictures: pathlib.Path, name: str, **changes) -> ExperimentConfig:
    settings = {
        "train_mode": "supervised",
        "dataset": "image_folder",
        "data_dir": str(pictures),
        "labels_from": str(pictures.parent / "labels.csv"),
        "train_split": "train",
        "eval_split": "test[:6]",
        "train_batch_size": 4,
        "eval_batch_size": 4,
        "train_steps": 1,
        "mode": "train",
    }
    return config_for(pictures.parent / name, **{**settings, **changes})


def test_the_classes_do_not_depend_on_what_is_done_now(pictures: pathlib.Path) -> None:
    """A classifier must be able to say what an evaluation asks for later, and a run to resume without one."""
    for changes in (
        {"mode": "train"},
        {"mode": "train_then_eval"},
        {"keep_best": "online", "validation_split": "test[6:]"},
        {"knn_epochs": 1},
    ):
        assert plan_run(few_labels(pictures, "run", **changes), 1).class_names == CLASSES, changes


def test_a_run_that_only_trained_is_evaluated_later(pictures: pathlib.Path) -> None:
    execute(few_labels(pictures, "run"))
    assert class_names_of(str(pictures.parent / "run")) == CLASSES
    result, *_ = execute(few_labels(pictures, "run", mode="eval"))
    assert set(result["eval/images_per_class"]) <= {*CLASSES}


def test_baselines_learn_all_labels_however_few_pictures_are_shown(
    pictures: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand beside a classifier that has all six; a sample of the forty pictures would have some."""
    seen = []
    measure = run_report.baseline_accuracies

    def watched(train, *arguments):
        seen.append(int((train.labels >= 0).sum()))
        return measure(train, *arguments)

    monkeypatch.setattr(run_report, "baseline_accuracies", watched)
    shown = {"report_images": 12, "mode": "train_then_eval", "train_mode": "pretrain"}
    execute(few_labels(pictures, "run", **shown))
    assert seen == [6]


@pytest.mark.parametrize(("batch", "part", "cure"), [(20, 10, 4), (40, 10, 8), (12, 2, 4)])
def test_the_cure_for_parts_that_replicas_cannot_share_is_one(
    pictures: pathlib.Path, batch: int, part: int, cure: int
) -> None:
    """It named sizes that did not divide the batch."""
    with pytest.raises(ConfigError, match=f"microbatch_size is {part}, which 4 .*; use {cure} or another"):
        refuse_uneven_batches(
            few_labels(pictures, "run", train_batch_size=batch, microbatch_size=part), replicas=4
        )
    refuse_uneven_batches(
        few_labels(pictures, "run", train_batch_size=batch, microbatch_size=cure), replicas=4
    )


@pytest.mark.parametrize("place", ["train", "train/runs/mine", "test/runs"])
def test_a_run_among_its_own_pictures_is_refused(pictures: pathlib.Path, place: str) -> None:
    """Its pictures of the embeddings became a class."""
    config = few_labels(pictures, f"pictures/{place}", mode="train_then_eval")
    with pytest.raises(ConfigError, match=f"model_dir is .*{place}', which is among the pictures of"):
        plan_run(config, replicas=1)


@pytest.mark.parametrize("place", ["runs", "train/.runs/mine", "trainings"])
def test_a_run_beside_its_pictures(pictures: pathlib.Path, place: str) -> None:
    config = few_labels(pictures, f"pictures/{place}", mode="train_then_eval")
    assert plan_run(config, replicas=1).steps == 1


@pytest.mark.parametrize("depth, words", [(18, "ResNet-D's shortcuts"), (50, "selective kernels")])
def test_only_bottlenecks_have_selective_kernels(tmp_path: pathlib.Path, depth: int, words: str) -> None:
    lines = plan_run(config_for(tmp_path, resnet_depth=depth, sk_ratio=0.0625), 1).describe()
    assert f"ResNet-{depth} (1x), {words} at 8 px" in lines
