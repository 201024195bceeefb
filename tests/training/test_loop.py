"""Whole runs on a handful of digits: what they leave, how they resume, and what stops them."""

import dataclasses
import json
import re
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.training.small_runs import Lines, config_for, copy_checkpoint, execute, weights_of
from tf_simclrv2 import CheckpointError, ConfigError, DataError, ExperimentConfig, UserError, progress
from tf_simclrv2.data import load_source
from tf_simclrv2.distribution.compilation import COMPILING
from tf_simclrv2.errors import NotFiniteError
from tf_simclrv2.evaluation import FeatureExtractor, linear_probe, split_features
from tf_simclrv2.report.event_files import read_scalars
from tf_simclrv2.training import run as run_module
from tf_simclrv2.training.batches import StageBatches
from tf_simclrv2.training.knn_curve import KnnCurve
from tf_simclrv2.training.model_dir import verified_checkpoints
from tf_simclrv2.training.model_dir.verified_checkpoints import wait_for_checkpoint, why_damaged
from tf_simclrv2.training.plan import plan_run
from tf_simclrv2.training.preparation import prepare
from tf_simclrv2.training.run import Run

PUBLISHED_TAGS = {
    "train/contrast_loss",
    "train/contrast_acc",
    "train/contrast_entropy",
    "train/supervised_loss",
    "train/supervised_acc",
    "train/weight_decay",
    "train/total_loss",
    "learning_rate",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    config = config_for(
        directory, use_blur=False, protocols=("online", "knn"), knn_epochs=1, keep_hub_module_max=1
    )
    result, lines, _ = execute(config)
    return directory, result, lines


def test_a_compiled_run_says_what_it_waits_for(tmp_path, finished):
    result, lines, _ = execute(config_for(tmp_path / "run", train_steps=1, use_blur=False, compile="xla"))
    assert result["global_step"] == 1 and np.isfinite(result["train/total_loss"])
    said = [line for line in lines if line == COMPILING or line.startswith("trained to step 1")]
    assert len(said) == 2 and said[0] == COMPILING
    assert COMPILING not in finished[2]


def test_what_a_run_leaves(finished):
    directory, result, _ = finished
    left = {path.name for path in directory.iterdir()}
    assert {"config.json", "flags.json", "checkpoint", "result.json", "result_4.json", "saved_model"} <= left
    assert {"ckpt-2.index", "ckpt-4.index"} <= left
    assert not left & {"report.html", "report_data.npz"}, "report_images is 0"
    assert json.loads((directory / "flags.json").read_text()) == {"typed": 1}
    written = json.loads((directory / "result.json").read_text())
    assert written == json.loads((directory / "result_4.json").read_text())
    assert written["global_step"] == 4
    for tag in ("eval/label_top_1_accuracy", "eval/label_top_5_accuracy", "eval/regularization_loss"):
        assert result[tag] == pytest.approx(written[tag])
    assert written["eval/label_top_5_accuracy"] >= written["eval/label_top_1_accuracy"]


def test_config_json_rebuilds_the_run(finished):
    directory, *_ = finished
    config = ExperimentConfig.from_json((directory / "config.json").read_text())
    assert config.model.num_classes == 10
    assert dataclasses.replace(config.model, num_classes=1000) == config_for(directory).model


def test_events(finished):
    directory, *_ = finished
    tags, images = {}, 0
    for path in directory.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "images":
                    images += 1
                else:
                    tags.setdefault(value.tag, []).append(event.step)
    assert set(tags) >= PUBLISHED_TAGS
    assert tags["train/total_loss"] == [2, 4]
    assert images == 1


def test_the_curve_of_neighbors_ends_where_the_evaluation_does(finished):
    directory, result, _ = finished
    curve = read_scalars(str(directory))[0]["knn_20/final_avg_pool/while_training"]
    assert curve.steps.tolist() == [2, 4], "40 images are an epoch of 2 batches"
    assert curve.values[-1] == pytest.approx(result["knn_20/final_avg_pool/top_1_accuracy"])


def test_the_curve_of_neighbors_needs_labels(tmp_path):
    for name in ("a", "b"):
        tf.io.write_file(
            str(tmp_path / "train" / f"{name}.png"), tf.io.encode_png(np.zeros([8, 8, 3], np.uint8))
        )
    folder = {
        "dataset": "image_folder",
        "data_dir": str(tmp_path),
        "train_split": "train",
        "eval_split": "train",
    }
    plan = plan_run(config_for(tmp_path / "run", train_batch_size=2, knn_epochs=1, **folder), 1)
    assert "nearest neighbors during training are off: both splits need labels" in plan.describe()


def test_the_curve_of_neighbors_ends_where_no_image_has_a_label(tmp_path):
    """ImageNet's test split has a label feature, but only -1 in it."""
    config, lines = config_for(tmp_path, train_batch_size=20, knn_epochs=1), Lines()
    prepared = prepare(config, tf.distribute.get_strategy())
    plan = prepared.plan
    records = plan.eval_source.records.map(lambda record: {**record, "label": tf.constant(-1, tf.int64)})
    source = dataclasses.replace(plan.eval_source, records=records)
    plan = dataclasses.replace(plan, eval_source=source)
    curve = KnnCurve(dataclasses.replace(prepared, plan=plan), lines)
    for step in (curve.interval, 2 * curve.interval):
        prepared.task.global_step.assign(step)
        curve({})
    assert lines == [f"nearest neighbors during training are off: no image of {source.name} has a label"]


def test_saved_model_gives_what_the_checkpoint_holds(finished):
    directory, *_ = finished
    module = tf.saved_model.load(str(directory / "saved_model" / "4"))
    endpoints = module(np.zeros([2, 8, 8, 3], np.float32), training=False)
    assert endpoints["final_avg_pool"].shape == (2, 512)
    kernel = next(v for v in module.variables if v.shape == (512, 10))
    np.testing.assert_array_equal(
        kernel, weights_of(directory)["model/supervised_head/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    )


def test_the_terminal_shows_the_resolved_run(finished):
    *_, lines = finished
    assert "pretrain on digits/train[:40]: 40 images in 10 classes" in lines
    assert "4 steps of batch 16, a checkpoint after the first loop and every 2 steps" in lines
    assert "learning rate 0.0625 after 0 steps of warm-up" in lines
    assert "supervised_head" in lines
    assert lines[-1].startswith("result: step 4, top-1 ")


def test_the_same_command_again_says_that_it_is_complete(finished, tmp_path):
    directory, result, _ = finished
    shutil.copytree(directory, tmp_path / "again")
    again, lines, _ = execute(config_for(tmp_path / "again", use_blur=False))
    assert "training is already complete: step 4 of 4" in lines
    assert again["eval/label_top_1_accuracy"] == result["eval/label_top_1_accuracy"]


def test_a_resumed_run_ends_like_an_uninterrupted_one(finished, tmp_path):
    directory, *_ = finished
    copy_checkpoint(directory, tmp_path, 2)
    _, lines, _ = execute(config_for(tmp_path, use_blur=False, mode="train"))
    assert "resuming from step 2 of 4" in lines
    expected, found = weights_of(directory), weights_of(tmp_path)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        # Kernels on several threads add in any order; a wrong batch would differ in the first digit.
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4, err_msg=key)


def test_evaluating_later_gives_the_same_result(finished, tmp_path):
    directory, result, _ = finished
    shutil.copytree(directory, tmp_path / "later", ignore=shutil.ignore_patterns("saved_model"))
    later, lines, _ = execute(config_for(tmp_path / "later", use_blur=False, mode="eval", eval_name="later"))
    assert not (tmp_path / "later" / "saved_model").exists()
    written = json.loads((tmp_path / "later" / "later_result.json").read_text())
    assert lines[-1].endswith(f"({tmp_path}/later/later_result.json)")
    for tag in ("global_step", "eval/label_top_1_accuracy", "eval/regularization_loss"):
        assert later[tag] == written[tag] == result[tag]


@pytest.mark.parametrize("slowly", [False, True])
def test_an_evaluation_goes_on_if_a_checkpoint_is_removed_under_it(finished, tmp_path, monkeypatch, slowly):
    """As a training does that keeps few: here right after the evaluation has looked at it."""
    directory = tmp_path / "followed"
    shutil.copytree(finished[0], directory, ignore=shutil.ignore_patterns("saved_model", "ckpt-4.*"))
    monkeypatch.setattr(verified_checkpoints, "_SECOND_LOOK", 0.5)
    look = run_module.new_checkpoints

    def looked_at_too_late(path, patience):
        for prefix in look(path, patience):
            if prefix.endswith("ckpt-2"):
                for file in finished[0].glob("ckpt-4.*"):
                    shutil.copy(file, directory)
                (directory / "ckpt-2.data-00000-of-00001").unlink()
                remove_index = (directory / "ckpt-2.index").unlink
                threading.Timer(0.2, remove_index).start() if slowly else remove_index()
            yield prefix

    monkeypatch.setattr(run_module, "new_checkpoints", looked_at_too_late)
    monkeypatch.setattr(Run, "_evaluate", lambda run: {"global_step": run.step})
    result, lines, _ = execute(config_for(directory, use_blur=False, mode="eval"))
    assert result == {"global_step": 4}
    assert [line for line in lines if line.startswith("evaluating")] == ["evaluating step 4 of 4"]


@pytest.mark.parametrize("block", [-1, 4])
def test_fine_tuning_from_a_pretrained_run(finished, tmp_path, block):
    directory, *_ = finished
    config = config_for(
        tmp_path,
        train_mode="finetune",
        checkpoint=str(directory),
        fine_tune_after_block=block,
        ft_proj_selector=0 if block == 4 else 1,
        train_steps=2,
    )
    result, lines, run = execute(config)
    assert f"variables loaded from {directory}/ckpt-4" in lines
    assert result["global_step"] == 2
    start = weights_of(directory)
    key = "model/resnet/block_group4/block_1/conv_2/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    same = np.array_equal(weights_of(tmp_path, 2)[key], start[key])
    assert same == (block == 4)
    assert "proj_head_2" not in run.task.network(tf.zeros([1, 8, 8, 3]))


def test_pretraining_starts_from_another_run(finished, tmp_path):
    """Its network is that of the other run, and its steps are counted from 0."""
    directory, *_ = finished
    config = config_for(
        tmp_path, checkpoint=str(directory), use_blur=False, train_steps=1, learning_rate=1e-9, mode="train"
    )
    result, lines, _ = execute(config)
    assert f"variables loaded from {directory}/ckpt-4" in lines and result["global_step"] == 1
    before, after = weights_of(directory), weights_of(tmp_path, 1)
    for key, value in before.items():
        if key.startswith("model/") and "kernel" in key and "supervised_head" not in key:
            np.testing.assert_allclose(after[key], value, rtol=1e-5, atol=1e-7, err_msg=key)


def test_labels_of_a_file_train_and_probe(tmp_path):
    """Twenty of forty images; the probe has those twenty."""
    data = config_for(tmp_path).data
    records = list(load_source(data, "train[:40]").records.as_numpy_iterator())
    rows = [f"digits/train[:40] #{row},{records[row]['label']}" for row in range(0, 40, 2)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    config = config_for(
        tmp_path / "run",
        train_mode="supervised",
        labels_from=str(tmp_path / "labels.csv"),
        protocols=("linear",),
        train_steps=1,
    )
    result, lines, run = execute(config)
    assert "supervised on digits/train[:40]: 20 images in 10 classes" in lines
    extract = FeatureExtractor(run.task.network, ["final_avg_pool"])
    (h, labels), (test_h, test_labels) = (
        split_features(extract, load_source(data, split), config) for split in ("train[:40]", "test[:30]")
    )
    train_rows = h["final_avg_pool"][::2], labels[::2]
    found = linear_probe(*train_rows, test_h["final_avg_pool"], test_labels)
    assert result["linear/final_avg_pool/top_1_accuracy"] == found.accuracy


def test_fine_tuning_without_a_checkpoint_says_so(tmp_path):
    said = "checkpoint is not set: fine-tuning starts from random weights"
    for stage, expected in (("finetune", True), ("supervised", False)):
        lines = Lines()
        Run(config_for(tmp_path, train_mode=stage), say=lines)
        assert (said in lines) is expected


@pytest.mark.parametrize("stage", ["finetune", "supervised"])
def test_random_weights_are_not_frozen(tmp_path, stage):
    """Their batch norm knows no images, and their residual branches are off."""
    config = config_for(tmp_path / "run", train_mode=stage, fine_tune_after_block=4, train_steps=1)
    with pytest.raises(ConfigError, match="without --checkpoint that would freeze random weights"):
        Run(config)
    assert not (tmp_path / "run").exists()
    if stage == "supervised":  # Starts from random weights in any case.
        return
    start = tmp_path / "start"
    execute(config_for(start, train_mode=stage, train_steps=1, mode="train"))
    execute(dataclasses.replace(config, run=dataclasses.replace(config.run, checkpoint=str(start))))
    execute(config)  # Resumed: it has started already.


def test_preparing_the_batches_is_not_silent(tmp_path, monkeypatch):
    """Tracing the pipeline takes half a minute on a busy machine."""

    def slowly(batches, starts, share):
        time.sleep(3)
        return original(batches, starts, share)

    original = StageBatches.training
    monkeypatch.setattr(StageBatches, "training", slowly)
    run = Run(config_for(tmp_path, train_steps=1, mode="train"), say=(lines := Lines()))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 1.0)
    run.execute()
    assert "preparing the batches: 0:00:0" in lines


@pytest.mark.parametrize("is_there", [True, False])
def test_an_evaluation_waits_for_the_first_checkpoint_only_where_a_training_may_be(tmp_path, is_there):
    directory = tmp_path / "run"
    if is_there:
        directory.mkdir()
    message = "none appeared within 0.5 s; start its training first" if is_there else "which does not exist"
    with pytest.raises(CheckpointError, match=message):
        wait_for_checkpoint(str(directory), 0.5)


def test_an_evaluation_starts_with_the_first_checkpoint(finished, tmp_path):
    saving = threading.Timer(1.0, copy_checkpoint, (finished[0], tmp_path, 4))
    saving.start()
    wait_for_checkpoint(str(tmp_path), 60.0)
    assert (tmp_path / "ckpt-4.index").exists()
    saving.join()


def test_a_folder_without_labels_pretrains(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (tmp_path / "images" / "torn.png").write_bytes(b"not a picture")
    config = config_for(
        tmp_path / "run",
        dataset="image_folder",
        data_dir=str(tmp_path / "images"),
        train_split="train",
        eval_split="train",
        max_skipped_fraction=0.1,
        train_steps=2,
        keep_hub_module_max=1,
    )
    result, lines, _ = execute(config)
    assert "has no labels: linear evaluation is off" in lines
    assert "1 unreadable image(s) were skipped" in lines and "torn.png" in lines
    (skipped,) = (tmp_path / "run" / "skipped.txt").read_text().splitlines()
    assert skipped.endswith("torn.png")
    assert result["train/skipped_images"] == 1
    assert "eval/label_top_1_accuracy" not in result
    assert np.isfinite(result["train/contrast_loss"])
    assert (tmp_path / "run" / "saved_model" / "2").is_dir()


def test_an_evaluation_names_what_it_leaves_out(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        folder = tmp_path / "images" / f"class {i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = tf.io.encode_png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).numpy()
        (folder / f"{i}.png").write_bytes(b"not a picture" if i == 7 else picture)
    config = config_for(
        tmp_path / "run",
        dataset="image_folder",
        data_dir=str(tmp_path / "images"),
        train_split="train",
        eval_split="train",
        protocols=("online",),
        max_skipped_fraction=0.1,
        train_steps=1,
        train_batch_size=4,
    )
    _, lines, _ = execute(config)
    (named,) = [line for line in lines if "1 of 20 images of" in line]
    assert "cannot be read" in named and named.endswith("7.png")


def test_too_many_unreadable_images_stop_a_run_whose_checkpoint_stays(tmp_path):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for i in range(20):
        pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        (images / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    options = {
        "dataset": "image_folder",
        "data_dir": str(images),
        "train_split": "train",
        "eval_split": "train",
        "mode": "train",
        "max_skipped_fraction": 0.1,
    }
    execute(config_for(tmp_path / "run", train_steps=2, **options))
    before = weights_of(tmp_path / "run", 2)
    torn = {f"{i}.png" for i in range(3)}
    for name in torn:
        (images / name).write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"3 of 20 images are unreadable, but at most 2 may be"):
        execute(config_for(tmp_path / "run", train_steps=40, **options))
    names = (tmp_path / "run" / "skipped.txt").read_text().splitlines()
    assert {name.rsplit("/", 1)[-1] for name in names} == torn
    assert why_damaged(str(tmp_path / "run" / "ckpt-2")) is None
    for key, value in weights_of(tmp_path / "run", 2).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


def test_a_loss_that_is_not_finite_stops_training(tmp_path):
    config = config_for(
        tmp_path,
        optimizer="momentum",
        learning_rate=1e25,
        checkpoint_steps=1,
        steps_per_loop=1,
        train_steps=30,
    )
    with pytest.raises(
        NotFiniteError, match=r"not finite at step (\d+); (the last good|there is no good) checkpoint"
    ) as stopped:
        execute(config)
    found = re.search(r"at step (\d+);(?: .*ckpt-(\d+);)?", str(stopped.value))
    assert found is not None and int(found[2] or 0) < int(found[1])
    assert f"{tmp_path}/not_finite.json lists" in str(stopped.value)
    report = json.loads((tmp_path / "not_finite.json").read_text())
    assert f"at step {report['step']};" in str(stopped.value)
    assert report["loss"] in ("nan", "inf", "-inf")
    # The cosine's rate: 30 steps, no warm-up.
    rate = 1e25 * 16 / 256 * (1 + np.cos(np.pi * report["step"] / 30)) / 2
    assert report["learning_rate"] == pytest.approx(rate, rel=1e-4)
    newest = tf.train.latest_checkpoint(str(tmp_path))
    assert newest is not None
    step = int(newest.rsplit("-", 1)[1])
    assert step < 30 and step >= 1
    names = {
        key.removeprefix("model/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
        for key in weights_of(tmp_path, step)
        if key.startswith("model/")
    }
    assert set(report["variable_norms"]) == names


BAD_RUNS = {
    "unknown dataset": ({"dataset": "digitz"}, "did you mean digits"),
    "unknown split": ({"eval_split": "validation"}, "validation.*cannot be read"),
    "missing folder": ({"dataset": "image_folder", "data_dir": "/nowhere/at/all"}, "/nowhere/at/all"),
    "no checkpoint": ({"train_mode": "finetune", "checkpoint": "/nowhere"}, "does not exist"),
    "batch beyond the data": ({"train_batch_size": 41}, "only 40 images"),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_bad_runs_are_refused_before_anything_is_written(tmp_path, name):
    changes, message = BAD_RUNS[name]
    with pytest.raises(UserError, match=message):
        execute(config_for(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_model_dir_is_needed(tmp_path):
    config = config_for(tmp_path)
    with pytest.raises(ConfigError, match="model_dir is not set"):
        execute(dataclasses.replace(config, run=dataclasses.replace(config.run, model_dir=None)))


def test_batches_must_divide_among_the_replicas(tmp_path):
    with pytest.raises(ConfigError, match=r"train_batch_size is 18, which 4 replicas cannot share.*use 16"):
        execute(config_for(tmp_path / "run", train_batch_size=18, strategy="mirrored"))


def test_a_model_dir_of_another_run_is_refused_untouched(finished, tmp_path):
    directory, *_ = finished
    shutil.copytree(directory, tmp_path / "other")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "other").rglob("*")}
    with pytest.raises(CheckpointError, match=r"another run: --resnet_depth=18 \(here it is 34\)"):
        execute(config_for(tmp_path / "other", resnet_depth=34))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "other").rglob("*")} == before


def test_an_unwritable_model_dir(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        execute(config_for(tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_fine_tuning_without_labels(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(tf.io.encode_png(np.zeros([9, 9, 3], np.uint8)).numpy())
    config = config_for(
        tmp_path / "run",
        train_mode="finetune",
        dataset="image_folder",
        data_dir=str(tmp_path / "images"),
        train_split="train",
        eval_split="train",
    )
    with pytest.raises(DataError, match="has no labels, but --train_mode=finetune needs them"):
        execute(config)
