"""Each file of a model_dir truncated, emptied or with one bit flipped: no run continues from something wrong.

The reference is the sound run: a run on a damaged copy either ends in one sentence, or continues from a
checkpoint whose every value is the one that the sound run saved.
"""

import os
import pathlib
import shutil

import numpy as np
import pytest

from tests.training.small_runs import config_for, execute, weights_of
from tf_simclrv2 import CheckpointError, DataError
from tf_simclrv2.training.run import Run
from tf_simclrv2.training.training_loop import TrainingLoop

READ = (
    "checkpoint",
    "ckpt-4.index",
    "ckpt-4.data-00000-of-00001",
    "config.json",
    "images.json",
    "labels.txt",
    "metrics.jsonl",
)
NOT_READ = (
    ".lock",
    ".metrics.jsonl.lock",
    "ckpt-2.index",
    "ckpt-2.data-00000-of-00001",
    "flags.json",
    "result.json",
    "result_4.json",
    "versions.json",
    "events",
    "saved_model/4/saved_model.pb",
)
DAMAGES = ("truncated", "emptied", "flipped")
CASES = [(name, how) for name in READ for how in DAMAGES] + [(name, "flipped") for name in NOT_READ]
NEWEST = ("ckpt-4.index", "ckpt-4.data-00000-of-00001")
LABELS_REFUSED = r"label \d is '.*' in the former|its labels\.txt has \d+ name"
IMAGES_REFUSED = r"images\.json cannot be read|was trained on other images"
CONFIG_REFUSED = r"config\.json cannot be read|is not the config of a run|holds checkpoints of another run"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    execute(config_for(directory, keep_hub_module_max=1))
    return directory


def break_file(path: pathlib.Path, how: str) -> None:
    whole = path.read_bytes()
    flipped = bytearray(whole)
    if flipped:
        flipped[len(whole) // 3] ^= 2
    path.unlink()  # It may be linked.
    path.write_bytes({"truncated": whole[: len(whole) // 2], "emptied": b"", "flipped": bytes(flipped)}[how])


def copy_or_link(source: str, target: str) -> None:
    """Links checkpoints, which are large and which no run writes into."""
    (os.link if "/ckpt-" in source else shutil.copy2)(source, target)


def damaged_copy(sound: pathlib.Path, target: pathlib.Path, name: str, how: str) -> pathlib.Path:
    shutil.copytree(sound, target, copy_function=copy_or_link)
    path = next(target.glob("events*")) if name == "events" else target / name
    break_file(path, how)
    return target


def restored(run: Run) -> dict[str, np.ndarray]:
    """The values that a run holds by their checkpoint keys."""
    values = {}

    def walk(path: str, node) -> None:
        if isinstance(node, dict):
            for name, child in node.items():
                walk(f"{path}/{name}", child)
        else:
            values[f"{path}/.ATTRIBUTES/VARIABLE_VALUE"] = node.numpy()

    for root in ("model", "optimizer", "position"):
        walk(root, dict(getattr(run.checkpoint, root)))
    return values


@pytest.fixture
def resume(monkeypatch):
    """Resumes with more steps, up to the first batch: the step, its values and what was said."""

    class Reached(Exception):
        pass

    def at_first_batch(loop: TrainingLoop) -> None:
        raise Reached

    def go(directory: pathlib.Path):
        monkeypatch.setattr(TrainingLoop, "_show_views", at_first_batch)
        lines = []
        run = Run(config_for(directory, train_steps=8), say=lines.append)
        with pytest.raises(Reached):
            run.execute()
        return run.step, restored(run), "\n".join(lines)

    return go


def test_no_file_is_forgotten(sound):
    names = {path.name for path in sound.iterdir() if path.is_file() and not path.name.startswith("events")}
    assert names == {name for name in (*READ, *NOT_READ) if "/" not in name} - {"events"}


@pytest.mark.parametrize(("name", "how"), CASES)
def test_a_training_goes_on_from_what_is_whole(sound, tmp_path, resume, name, how):
    directory = damaged_copy(sound, tmp_path / "copy", name, how)
    if name == "config.json":
        with pytest.raises(CheckpointError, match=CONFIG_REFUSED):
            resume(directory)
        return
    # A flipped bit in the place of the images, which only messages name, does no harm.
    if name == "images.json" and how != "flipped":
        with pytest.raises(CheckpointError, match=IMAGES_REFUSED):
            resume(directory)
        return
    if name == "labels.txt" and how != "emptied":
        with pytest.raises((CheckpointError, DataError), match=LABELS_REFUSED):
            resume(directory)
        return
    step, values, said = resume(directory)
    assert step == (2 if name in NEWEST else 4)
    assert ("only the number of its classes, 10, can be compared" in said) == (name == "labels.txt")
    assert ("ckpt-4 is damaged" in said) == (name in NEWEST)
    assert len(list(directory.glob("ckpt-4.damaged.*"))) == (2 if name in NEWEST else 0)
    expected = weights_of(sound, step)
    assert expected.keys() == values.keys()
    for key, value in values.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["checkpoint", "images.json", *NEWEST, "config.json"])
def test_an_evaluation_measures_what_is_whole(sound, tmp_path, name, how, monkeypatch):
    directory = damaged_copy(sound, tmp_path / "copy", name, how)
    measured = []

    def measure(run: Run) -> dict:
        measured.append((run.step, restored(run)))
        return {"global_step": run.step}

    monkeypatch.setattr(Run, "_evaluate", measure)
    config = config_for(directory, mode="eval")
    if name in ("checkpoint", "images.json"):  # An evaluation needs neither.
        execute(config)
        ((step, values),) = measured
        assert step == 4
        expected = weights_of(sound)
        for key, value in values.items():
            np.testing.assert_array_equal(value, expected[key], err_msg=key)
        return
    with pytest.raises(CheckpointError, match="ckpt-4 is damaged" if name in NEWEST else CONFIG_REFUSED):
        execute(config)
    assert not measured


def test_both_checkpoints_damaged(sound, tmp_path, resume):
    directory = damaged_copy(sound, tmp_path / "copy", "ckpt-4.index", "truncated")
    break_file(directory / "ckpt-2.data-00000-of-00001", "flipped")
    before = {path.name for path in directory.iterdir()}
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in model_dir .* is intact \(ckpt-4: .*; ckpt-2: "
    ):
        resume(directory)
    assert {path.name for path in directory.iterdir()} == before
