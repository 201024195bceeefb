"""Accuracy against labels: its images, its rules, its page, and a point in small."""

import argparse
import dataclasses
import json
import pathlib

import numpy as np
import pytest

from benchmarks import label_curve
from benchmarks.labels import page, points
from benchmarks.labels.points import Measured, Runs, best_layer, key, measure_point, numbers, pretrain
from benchmarks.labels.settings import DIGITS, SCALES, SMALL
from benchmarks.measuring import fashion_mnist, stages
from benchmarks.measuring.fashion_mnist import write_image_folder
from benchmarks.measuring.measured_page import BEGIN, END
from benchmarks.measuring.stages import AT_START, TOP_1, VALIDATION, run_watched_stage, stage_processes
from tests.small_network import small_network as small_network
from tf_simclrv2.data import load_source

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = dataclasses.replace(
    SMALL,
    train_images=80,
    validation_images=20,
    test_images=20,
    per_class=(2, 4),
    image_size=8,
    big_depth=18,
    precision="float32",
    pretrain_epochs=1,
    label_steps=2,
    label_epochs=1,
    distill_epochs=1,
    seeds=(0, 1),
)


@pytest.fixture
def output(tmp_path, monkeypatch):
    """A folder with random images of ten classes."""

    def read(split, source):
        count = {"train": 120, "test": 40}[split]
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        return images, np.arange(count) % 10

    monkeypatch.setattr(fashion_mnist, "read", read)
    counts = {"train": TINY.train_images, "test": TINY.test_images}
    write_image_folder(tmp_path / "images", counts, "debian", TINY.validation_images)
    return tmp_path


def point(**values):
    """A point whose numbers are all alike, but for some."""
    names = (*page.ROWS, "tuned/start")
    layers = {f"layer{layer}": 0.5 for layer in points.HEAD_LAYERS}
    return {**dict.fromkeys(names, 0.5), **layers, "layer": 1, **values}


def test_splits_hold_every_class_alike_and_no_picture_twice(output):
    names = {
        split: {path.name for path in (output / "images" / split).rglob("*.png")}
        for split in ("train", "validation", "test")
    }
    assert {split: len(found) for split, found in names.items()} == {
        "train": 80,
        "validation": 20,
        "test": 20,
    }
    assert not names["train"] & names["validation"]
    for split, count in (("train", 8), ("validation", 2), ("test", 2)):
        folders = [*(output / "images" / split).iterdir()]
        assert [len([*folder.iterdir()]) for folder in folders] == [count] * 10


@pytest.mark.parametrize("settings", SCALES.values())
def test_few_labels_have_as_many_steps_and_many_as_many_epochs(settings):
    few, many = settings.per_class[0], settings.per_class[-1]
    assert settings.steps(few) == settings.label_steps
    assert settings.steps(many) * settings.batch_size(many) >= settings.label_epochs * 10 * many
    assert settings.batch_size(1) == 10


def test_the_layer_is_chosen_on_validation_images():
    def found(*accuracies):
        return {f"layer{layer}/validation": value for layer, value in enumerate(accuracies)}

    assert best_layer(found(0.5, 0.6, 0.7)) == 2
    assert best_layer(found(0.7, 0.7, 0.7)) == 1
    assert best_layer(found(0.7, 0.6, 0.7)) == 0


def test_points_are_kept(tmp_path):
    measured = Measured.open(tmp_path / "labels.json", TINY)
    measured.add(key(1, 4), point(tuned=0.75))
    again = Measured.open(tmp_path / "labels.json", TINY)
    assert again == measured and numbers(again, 4, "tuned") == [0.75] and numbers(again, 2, "tuned") == []


def test_the_tables_and_the_curves(tmp_path):
    measured = Measured(tmp_path / "labels.json", TINY)
    measured.add(key(0, 2), point(tuned=0.6, scratch=0.5, layer2=0.7, layer=2))
    measured.add(key(1, 2), point(tuned=0.8, scratch=0.7, layer2=0.7, layer=0))
    measured.add(key(0, 4), point(tuned=0.9))
    lines = page.table(measured).splitlines()
    assert lines[0] == "| top-1, % | 2 | 4 (1 seed) |"
    assert "| fine-tuned, layer chosen on validation images | 70.0 ± 14.1 | 90.0 |" in lines
    assert "| small network from scratch | 50.0 ± 0.0 | 50.0 |" in lines
    assert "| fine-tuned − from scratch | +10.0 ± 0.0 | +40.0 |" in page.pair_table(measured)
    assert "| self-distilled − fine-tuned | -20.0 ± 14.1 | -40.0 |" in page.pair_table(measured)
    assert "| 2 | 70.0 ± 0.0 | 50.0 |" in page.layer_table(measured)
    assert "| chosen, by seed | 2, 0 | 1 |" in page.layer_table(measured)
    curves = {line.get_label(): line for line in page.draw(measured).axes[0].get_lines()}
    tuned = curves["fine-tuned, layer chosen on validation images"]
    assert tuned.get_xdata().tolist() == [2, 4] and tuned.get_ydata().tolist() == pytest.approx([70.0, 90.0])


def test_a_page_of_results_that_are_not_committed_is_refused(monkeypatch, capsys):
    """It would show the committed ones, and look like an exact reproduction."""
    monkeypatch.setattr("sys.argv", ["label_curve.py", "--docs", "--results=runs/labels.json"])
    with pytest.raises(SystemExit):
        label_curve.main()
    assert "copy the results there" in capsys.readouterr().err


def test_the_page_shows_the_committed_results():
    """Whoever adds results also types `label_curve.py --docs`."""
    text = (ROOT / "docs" / "labels.md").read_text()
    assert f"{BEGIN}\n\n{page.measured_part(label_curve.committed())}\n\n{END}" in text
    for scale, measured in label_curve.committed().items():
        assert measured.settings == SCALES[scale]


def test_a_point_in_small(output):
    """Every run of a point, with two labels per class; and its pretraining is not repeated."""
    with stage_processes(argparse.Namespace(processes=1, threads=1)) as processes:
        processes.submit(pretrain, TINY, output, 0).result()
        before = (output / "pretrained_0" / "result.json").stat().st_mtime_ns
        found = processes.submit(measure_point, TINY, output, 0, 2).result()
        processes.submit(pretrain, TINY, output, 0).result()
    assert {*page.ROWS, "layer"} <= set(found) and all(0 <= found[name] <= 1 for name in page.ROWS)
    assert found["tuned"] == found[f"layer{found['layer']}"]
    assert (output / "pretrained_0" / "result.json").stat().st_mtime_ns == before
    assert not list(output.glob("*_2_0/ckpt-*"))


def test_the_best_layer_on_validation_images_is_reported_on_test_images(tmp_path, monkeypatch):
    """They disagree here; students learn from the one that validation images prefer."""
    on_test = {"layer0_2_0": 0.9, "layer1_2_0": 0.8, "layer2_2_0": 0.7}
    on_validation = {"layer0_2_0": 0.1, "layer1_2_0": 0.2, "layer2_2_0": 0.3}
    teachers = set()

    def run_watched_stage(config, validation):
        assert (config.data.eval_split, validation) == (TINY.test, TINY.validation)
        name = pathlib.Path(config.run.model_dir).name
        if name.startswith("student"):
            teachers.add(pathlib.Path(config.distillation.teacher).name)
        return {AT_START: 0.1, TOP_1: on_test.get(name, 0.5), VALIDATION: on_validation.get(name, 0.5)}

    monkeypatch.setattr(points, "run_watched_stage", run_watched_stage)
    monkeypatch.setattr(points, "probe", lambda runs, per_class, features: 0.5)
    found = measure_point(TINY, tmp_path, 0, 2)
    assert (found["layer"], found["tuned"], found["layer0"]) == (2, 0.7, 0.9)
    assert teachers == {"layer2_2_0"}


def test_a_stage_that_was_stopped_remembers_how_it_began(output, monkeypatch):
    """Its network is not restored when it is looked at again, so it would always be a new one."""
    config = Runs(TINY, output, 0).scratch(2, 18)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, strategy="one_device"))
    directory = pathlib.Path(config.run.require_model_dir())
    directory.mkdir()
    (directory / "started.json").write_text(json.dumps({AT_START: 0.875}))
    original, found_on = stages.top_1, {}

    def top_1(run, split):
        found_on.update({each: original(run, each) for each in (TINY.validation, TINY.test)})
        assert split == TINY.validation
        return 0.625

    monkeypatch.setattr(stages, "top_1", top_1)
    found = run_watched_stage(config, TINY.validation)
    assert (found[AT_START], found[VALIDATION]) == (0.875, 0.625)
    assert found[TOP_1] == pytest.approx(found_on[TINY.test])
    assert found_on[TINY.test] != found_on[TINY.validation], "choose a case in which they differ"


def test_the_command_line_may_change_rates_and_the_source():
    """As settings, so that what was measured with others is not taken for the same."""

    def of(scale, **changes):
        given = {"finetune_rate": None, "scratch_rate": None, "source": "debian", **changes}
        return label_curve.settings_of(argparse.Namespace(scale=scale, **given))

    assert {scale: of(scale) for scale in SCALES} == SCALES
    assert of("small", source="tfds") != SMALL and of("digits", source="tfds") == DIGITS
    rates = of("digits", finetune_rate=1.0, scratch_rate=2.0)
    assert rates == dataclasses.replace(DIGITS, finetune_rate=1.0, scratch_rate=2.0) != DIGITS


def test_a_classifier_that_has_learned_before_its_first_step_is_refused(output, monkeypatch):
    monkeypatch.setattr(points, "run_watched_stage", lambda config, validation: {AT_START: 0.8})
    with pytest.raises(RuntimeError, match=r"scratch18_2_0 begins at 0.80, so its classifier is not new"):
        points._trained("scratch", Runs(TINY, output, 0).scratch(2, 18), TINY.validation)


def test_digits_are_split_as_the_settings_say(tmp_path):
    config = Runs(DIGITS, tmp_path, 0).pretraining()
    assert (config.data.train_split, config.data.eval_split) == ("train[:80%]", "test")
    for split, count in (
        (DIGITS.train, DIGITS.train_images),
        (DIGITS.validation, DIGITS.validation_images),
        (DIGITS.test, DIGITS.test_images),
    ):
        labels = [int(row["label"]) for row in load_source(config.data, split).records.as_numpy_iterator()]
        assert len(labels) == count
        assert split != DIGITS.train or min(np.bincount(labels)) >= DIGITS.per_class[-1]
