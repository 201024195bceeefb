"""Whole runs that keep their best checkpoint, stop early, and log what they measure."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.training.small_runs import config_for, execute, weights_of
from tf_simclrv2 import CheckpointError, ConfigError, DataError
from tf_simclrv2.data import load_source
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.report.event_files import read_scalars
from tf_simclrv2.training import validation
from tf_simclrv2.training.accuracy_measure import AccuracyMeasure
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.plan import plan_run
from tf_simclrv2.training.run import Run
from tf_simclrv2.training.validation_split import labeled_part
from tf_simclrv2.weights.loading import find_weights

VALIDATION = "train[40:100]"
RESULT_TAGS = {
    "knn": "knn_20/final_avg_pool/top_1_accuracy",
    "linear": "linear/final_avg_pool/top_1_accuracy",
    "online": "eval/label_top_1_accuracy",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run that keeps every checkpoint, and the best of them by nearest neighbors."""
    directory = tmp_path_factory.mktemp("kept")
    config = config_for(
        directory,
        mode="train",
        train_steps=7,
        checkpoint_steps=3,
        keep_checkpoint_max=9,
        keep_best="knn",
        validation_split=VALIDATION,
    )
    result, lines, _ = execute(config)
    return directory, result, lines


@pytest.fixture(scope="module")
def evaluated(kept, tmp_path_factory):
    """By step, what an evaluation of each checkpoint finds on the same images; and the run of the last."""
    directory = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(kept[0], directory)
    config = config_for(directory, mode="eval", eval_split=VALIDATION, train_steps=7)
    run, found = Run(config, say=lambda _: None), {}
    for step, protocols in {3: ("knn",), 6: ("knn",), 7: ("online", "linear", "knn")}.items():
        measures = dataclasses.replace(config.evaluation, protocols=protocols)
        run.evaluation.config = dataclasses.replace(run.config, evaluation=measures)
        assert run._restore(str(directory / f"ckpt-{step}"))
        found[step] = run.evaluation.evaluate()
    return found, run


def test_the_best_is_the_one_that_an_evaluation_finds_best(kept, evaluated):
    directory, result, _ = kept
    accuracy = {step: of_step[RESULT_TAGS["knn"]] for step, of_step in evaluated[0].items()}
    made = json.loads((directory / "validation.json").read_text())["measurements"]
    assert {m["step"]: pytest.approx(m["value"]) for m in made} == accuracy
    assert [m["epoch"] for m in made] == [step * 16 / 40 for step in accuracy]
    best = json.loads((directory / "best" / "best.json").read_text())
    assert best == result["best"]
    assert best["step"] == max(accuracy, key=lambda step: (accuracy[step], -step))
    assert (best["value"], best["images"]) == (pytest.approx(accuracy[best["step"]]), 60)
    kept_weights, same = (weights_of(folder, best["step"]) for folder in (directory, directory / "best"))
    assert kept_weights.keys() == same.keys()
    for key, value in kept_weights.items():
        np.testing.assert_array_equal(same[key], value, err_msg=key)


@pytest.mark.parametrize("metric", RESULT_TAGS)
def test_each_measure_is_what_the_evaluation_of_its_name_finds(evaluated, metric):
    found, run = evaluated
    config = run.config
    choosing = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_best=metric))
    plan = dataclasses.replace(run.plan, config=choosing, validation_source=run.plan.eval_source)
    measure = AccuracyMeasure(
        dataclasses.replace(run.prepared, plan=plan), WorkerExchange(run.prepared.strategy), lambda _: None
    )
    assert measure() == pytest.approx(found[run.step][RESULT_TAGS[metric]])


def test_the_folder_of_the_best_is_used_like_a_model_dir(kept, tmp_path):
    directory, result, _ = kept
    folder, best = tmp_path / "run" / "best", result["best"]
    shutil.copytree(directory / "best", folder)
    for path in (folder, folder / f"ckpt-{best['step']}"):
        weights = find_weights(str(path))
        assert weights.model.resnet_depth == 18 and weights.reader.prefix.endswith(f"ckpt-{best['step']}")
    asked = config_for(folder, mode="eval", eval_split=VALIDATION)
    plan = plan_run(adopt(asked, {"mode", "model_dir", "eval_split"}), 1)
    assert (plan.config.data.train_split, plan.steps) == ("train[:40]", 7), "it was described there"
    note = f"60 of the images of digits/{VALIDATION} are in validation_split '{VALIDATION}'"
    assert f"{note}: the accuracy of a checkpoint chosen on them is too optimistic" in plan.describe()
    with pytest.raises(CheckpointError, match=r"holds the best checkpoint of the run in .*; resume that run"):
        Run(config_for(folder, mode="train", train_steps=7))
    assert not (folder / "result.json").exists()


def test_patience_ends_a_run_which_stays_ended(tmp_path, monkeypatch):
    """The accuracies are given; the rest is a run as ever, here killed in between."""
    values = iter([0.3, 0.6, 0.5, 0.4, 0.2, 0.7, 0.1])
    monkeypatch.setattr(validation.AccuracyMeasure, "__call__", lambda measure: next(values))
    options = {
        "keep_best": "online",
        "validation_split": VALIDATION,
        "checkpoint_steps": 1,
        "keep_checkpoint_max": 1,
        "train_steps": 7,
    }
    result, lines, _ = execute(config_for(tmp_path, patience=2, **options))
    assert (result["global_step"], result["best"]["step"]) == (4, 2)
    assert result["stopped_early"] == {"step": 4, "patience": 2}
    assert json.loads((tmp_path / "result.json").read_text())["stopped_early"] == result["stopped_early"]
    assert "stopped early at step 4 of 7, after 2 measurement(s) without a new best" in lines
    assert f"best checkpoint: {tmp_path}/best/ckpt-2, online 0.6000 on 60 images of {VALIDATION}" in lines
    assert sorted(path.name for path in tmp_path.glob("ckpt-*.index")) == ["ckpt-4.index"]
    logged = (tmp_path / "metrics.jsonl").read_text()
    again, lines, _ = execute(config_for(tmp_path, patience=2, mode="train", **options))
    assert again == {key: result[key] for key in ("global_step", "best", "stopped_early")}
    assert "stopped early at step 4 of 7" in lines and "trained to step" not in lines
    assert (tmp_path / "metrics.jsonl").read_text() == logged
    result, lines, _ = execute(config_for(tmp_path, patience=4, mode="train", **options))
    assert "changed since the last start: patience was 2, is 4" in lines
    assert (result["global_step"], result["best"]["step"]) == (7, 6)
    assert "stopped_early" not in result
    check_metrics(tmp_path, {"train": list(range(1, 8)), "validation": list(range(1, 8)), "eval": [4]})


def check_metrics(directory, steps):
    """That the lines have these steps by log, and the numbers of the event files."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert {log: [line["step"] for line in lines if line["log"] == log] for log in steps} == steps
    assert len(lines) == sum(map(len, steps.values()))
    logged: dict = {}
    for line in lines:
        place = "eval" if line["log"] == "eval" else ""
        assert line.pop("epoch") == line["step"] * 16 / 40
        step = line.pop("step")
        del line["log"]
        for tag, value in line.items():
            logged.setdefault(place, {}).setdefault(tag, {})[step] = np.float32(value)
    for place, by_tag in logged.items():
        scalars = read_scalars(str(directory / place))[0]
        assert scalars.keys() == by_tag.keys()
        for tag, scalar in scalars.items():
            found = dict(zip(scalar.steps.tolist(), np.float32(scalar.values), strict=True))
            assert found == by_tag[tag], tag


REFUSED = {
    "trained on": (
        {"validation_split": "train[30:60]"},
        DataError,
        r"validation_split is 'train\[30:60\]', but 10 of these images are in digits/train\[:40\] and",
    ),
    "evaluated": (
        {"validation_split": "test[20:50]"},
        DataError,
        r"but 10 of these images are in eval_split 'test\[:30\]', whose accuracy is reported",
    ),
    "evaluated later": (
        {"validation_split": "test[20:50]", "mode": "train"},
        DataError,
        r"but 10 of these images are in eval_split",
    ),
    "labels of a distillation": (
        {
            "validation_split": "train[50:60]",
            "train_mode": "distill",
            "teacher": "somewhere",
            "distill_alpha": 0.5,
            "labeled_split": "train[55:80]",
        },
        DataError,
        r"but 5 of these images are in digits/train\[55:80\] and are trained on",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_choice_that_would_mean_nothing_is_refused(tmp_path, name):
    changes, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as refused:
        plan_run(config_for(tmp_path / "run", keep_best="online", **changes), 1)
    assert "--validation_split=train[90%:]" in str(refused.value)
    free = {**changes, "validation_split": "train[81:90]"}
    assert plan_run(config_for(tmp_path / "run", keep_best="online", **free), 1).validation_source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_best": "knn"}, r"keep_best is 'knn', but validation_split is not set; hold out"),
        ({"patience": 3}, "patience is 3, but keep_best is 'none'"),
        (
            {"keep_best": "online", "validation_split": "test", "lineareval_while_pretraining": False},
            "keep_best is 'online', but lineareval_while_pretraining is off",
        ),
    ],
)
def test_settings_that_choose_nothing(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_for(tmp_path, **changes)
    config_for(tmp_path, mode="eval", **changes)


def test_labels_are_needed_to_choose_by(tmp_path):
    picture = tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy()
    for name in ("bare/a", "bare/b", "held/x/a", "held/y/b", "tested/x/a", "tested/y/b"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    folder = {
        "dataset": "image_folder",
        "data_dir": str(tmp_path / "images"),
        "eval_split": "tested",
        "train_batch_size": 2,
        "keep_best": "knn",
    }
    with pytest.raises(DataError, match="bare has no labels, but --keep_best=knn needs them"):
        plan_run(config_for(tmp_path / "run", train_split="bare", validation_split="held", **folder), 1)
    with pytest.raises(DataError, match="bare has no labels, but --keep_best=knn needs them"):
        plan_run(config_for(tmp_path / "run", train_split="held", validation_split="bare", **folder), 1)


def test_no_more_images_are_measured_than_allowed(tmp_path):
    options = {"keep_best": "knn", "validation_split": "test[30:]", "validation_images": 25}
    plan = plan_run(config_for(tmp_path, **options), 1)
    assert plan.validation_source.num_examples == 25
    assert "best checkpoint: by knn on 25 images of digits/test[30:]" in plan.describe()


@pytest.mark.parametrize("metric", ["knn", "linear"])
def test_few_labels_among_many_images_are_all_measured_with(tmp_path, metric):
    """A sample of the images would hold none of them."""
    data = config_for(tmp_path).data
    records = list(load_source(data, "train[:40]").records.as_numpy_iterator())
    rows = [f"digits/train[:40] #{row},{records[row]['label']}" for row in (0, 1, 2, 3, 5, 6)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    config = config_for(
        tmp_path / "run",
        mode="train",
        keep_best=metric,
        knn_epochs=1,
        validation_split=VALIDATION,
        validation_images=3,
        labels_from=str(tmp_path / "labels.csv"),
    )
    plan = plan_run(config, 1)
    labeled = labeled_part(plan.train_source, plan.config.data)
    assert [int(record["label"]) for record in labeled.records.as_numpy_iterator()] == [
        records[row]["label"] for row in (0, 1, 2, 3, 5, 6)
    ]
    result, lines, _ = execute(config)
    assert result["best"]["images"] == 3
    assert "nearest neighbors during training are off" not in lines


def test_accuracies_of_training_images_are_said_to_be_such(tmp_path):
    for split, shared in (("train[30:70]", 10), ("train[:40]", 40), ("test[:30]", 0)):
        described = plan_run(config_for(tmp_path, eval_split=split), 1).describe()
        note = f"{shared} of the 40 images of digits/{split} are in digits/train[:40], which is trained on"
        assert (note in described) == bool(shared)
        assert ("which is trained on" in described) == bool(shared)
