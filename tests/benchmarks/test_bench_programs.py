import dataclasses
import math
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks import input_pipeline, loss_scaling, memory, semi_supervised, train_step
from benchmarks.claims.scale import SMALL
from benchmarks.labels.settings import SMALL as LABELS
from benchmarks.measuring import machine, stages
from benchmarks.measuring.pictures import write_pictures
from benchmarks.measuring.results_file import ResultsFile, claim_folder
from tf_simclrv2 import ModelConfig, TrainingConfig


def test_pictures_are_the_same_at_every_call_and_differ(tmp_path):
    for name in ("first", "again"):
        write_pictures(tmp_path / name, 3)
    files = sorted((tmp_path / "first" / "train").iterdir())
    assert len(files) == 3
    pictures = []
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / "train" / file.name).read_bytes()
        with Image.open(file) as picture:
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (500, 375), "RGB")
            pictures.append(np.asarray(picture, np.float32))
    assert np.abs(pictures[0] - pictures[1]).mean() > 10


def test_our_pipeline_makes_views_of_pictures(tmp_path: pathlib.Path):
    write_pictures(tmp_path, 4)
    for blur in (False, True):
        seconds = input_pipeline.seconds_of_ours(str(tmp_path), 2, blur, batch_size=2, size=32)
        assert 0 < seconds < 60


def test_the_loss_is_timed_with_and_without_keys():
    for keys in (0, 32):
        found = loss_scaling.measure(4, keys)
        assert len(found["step_s"]) == loss_scaling.CALLS and min(found["step_s"]) > 0
        assert found["growth_mb"] >= 0
    # 128 queries against 128 projections and 65,536 keys, four bytes each.
    assert loss_scaling.logits_bytes(64, 65536) == 128 * (128 + 65536) * 4


def test_what_keys_add_is_a_share_of_a_step_of_as_many_images():
    # 0.4 s more, in eight steps of 1 s.
    assert math.isclose(loss_scaling.added_share([0.5, 9.0, 0.1], [0.1], images=64, step=1.0), 0.05)
    assert train_step.POINTS[loss_scaling.STEP_POINT][1] == loss_scaling.STEP_IMAGES
    step = loss_scaling.step_of("mixed_bfloat16")
    program, *options = step.command(3)[1:]
    assert program == train_step.__file__
    assert train_step.parser().parse_args(options).here == step


def test_a_whole_step_is_timed():
    config = train_step.pretraining_config(
        ModelConfig(resnet_depth=18, image_size=8), TrainingConfig(train_batch_size=4)
    )
    step = train_step.pretraining_step(config)
    first, second = step(), step()
    assert math.isfinite(first) and 0 < second < first  # The first one traces.


def test_the_points_that_pytorch_measures_too():
    for point in ("r18_32px_b64", "r50_224px_b8"):
        model, batch_size = train_step.POINTS[point]
        words = train_step.torch_command("python", "lightly", model, batch_size, "float32", 3)
        values = [model.resnet_depth, model.image_size, batch_size]
        assert words[0] == "python" and pathlib.Path(words[1]).exists()
        assert words[2:] == ["lightly", *map(str, values), "float32", "3", "1"]


def test_memory_of_plain_cases_is_measured_beside_pytorch():
    plain = {name for name in memory.CASES if memory.is_plain(name)}
    assert plain == {"r18_32px_b64", "r50_224px_b8", "r50_224px_b32"}


def test_rematerialized_cases_are_held_against_the_same_without():
    peaks = {"r18_32px_b64": 5.0, "a": 4.0, "a_rematerialized": 1.0, "alone_rematerialized": 1.0}
    assert memory.shares_of_plain(peaks) == {"a_rematerialized": 0.25}
    for name in (name for name in memory.CASES if name.startswith("r50") and memory.is_plain(name)):
        model, training = memory.CASES[f"{name}_rematerialized"]
        assert (model, dataclasses.replace(training, rematerialize=False)) == memory.CASES[name]


def test_a_machine_is_named_with_its_versions():
    assert "TensorFlow 2." in machine.machine() and "cores of" in machine.machine()


@pytest.mark.parametrize("settings", [SMALL, LABELS], ids=["claims", "labels"])
def test_results_of_one_source_of_images_are_not_continued_with_another(tmp_path, settings):
    ResultsFile.open(tmp_path / "results.json", settings).add("one", 1)
    with pytest.raises(SystemExit, match=r"other settings \(source\)"):
        ResultsFile.open(tmp_path / "results.json", dataclasses.replace(settings, source="tfds"))


def test_the_chain_does_not_continue_with_other_recipes(tmp_path, monkeypatch):
    claim_folder(tmp_path / "chain", semi_supervised.Recipes.now())
    recipes = tmp_path / "recipes"
    shutil.copytree(stages.RECIPES, recipes)
    with (recipes / "digits_finetune.cfg").open("a") as file:
        file.write("# A remark.\n")
    monkeypatch.setattr(stages, "RECIPES", recipes)
    claim_folder(tmp_path / "chain", semi_supervised.Recipes.now())
    with (recipes / "digits_finetune.cfg").open("a") as file:
        file.write("--learning_rate=7.0\n")
    monkeypatch.setattr("sys.argv", ["semi_supervised.py", f"--output={tmp_path / 'chain'}"])
    with pytest.raises(SystemExit, match=r"other settings \(digits_finetune\)"):
        semi_supervised.main()
