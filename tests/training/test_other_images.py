"""A run that resumes says what has changed, and does not continue with other images unless it is told to."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil

import pytest

from tests.data.image_files import write_images
from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import CheckpointError, DataConfig, DataError, ExperimentConfig, Run
from tf_simclrv2.data import load_source
from tf_simclrv2.data.image_folder import list_image_files
from tf_simclrv2.files import CONFIG_FILE, IMAGES_FILE
from tf_simclrv2.training.model_dir.training_images import TrainingImages, changes, training_images


def pictures(folder: pathlib.Path) -> pathlib.Path:
    for number, name in enumerate(("cat", "dog")):
        write_images(folder / "train" / name, 4, first=10 * number)
    return folder


def config_of(model_dir: pathlib.Path, folder: pathlib.Path, **changes) -> ExperimentConfig:
    settings = {
        "dataset": "image_folder",
        "data_dir": str(folder),
        "train_split": "train",
        "train_batch_size": 4,
        "train_steps": 0,
        "train_epochs": 1,
        "mode": "train",
    }
    return config_for(model_dir, **{**settings, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """A model_dir after three steps, one epoch and one, and its pictures."""
    root = tmp_path_factory.mktemp("trained")
    folder = pictures(root / "pictures")
    execute(config_of(root / "run", folder))
    return root / "run", folder


@pytest.fixture
def copied(trained: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(trained[0], tmp_path / "run")


def changed_line(lines: Lines) -> str:
    (line,) = [line for line in lines if line.startswith("changed since")]
    return line


def started(config: ExperimentConfig) -> str:
    """What a run says about changes before it trains; nothing is written."""
    return changed_line(Lines(Run(config, say=Lines()).plan.describe().splitlines()))


def test_the_same_images_elsewhere_and_more_epochs(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    moved = shutil.copytree(trained[1], tmp_path / "moved")
    assert started(config_of(copied, moved, train_epochs=2)) == (
        f"changed since the last start: data_dir was {trained[1]}, is {moved}; train_epochs was 1, is 2"
    )


def test_what_a_run_began_from_is_settled(
    trained: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """Its report and its config go on naming the weights that it did begin from."""
    changes = {"train_mode": "finetune", "train_steps": 1, "train_epochs": 0}
    folder = tmp_path / "classes"
    for name in ("blue", "red"):
        pictures(folder / name)
    begun = config_of(tmp_path / "run", folder, checkpoint=str(trained[0]), **changes)
    execute(begun)
    for other in (str(tmp_path / "nowhere"), None):
        longer = dataclasses.replace(
            begun,
            run=dataclasses.replace(begun.run, checkpoint=other),
            training=dataclasses.replace(begun.training, train_steps=2),
        )
        run = Run(longer, say=Lines())
        assert run.config.run.checkpoint == str(trained[0])
        (line,) = [line for line in run.plan.describe().splitlines() if line.startswith("changed since")]
        assert ("is not used, as the run has begun" in line) == (other is not None)


def test_fewer_epochs_than_were_trained(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path
) -> None:
    before = (copied / "config.json").read_text()
    result, lines, _ = execute(config_of(copied, trained[1], train_steps=2))
    assert changed_line(lines) == "changed since the last start: train_steps was 0, is 2"
    assert "training is already complete: step 3 of 2, which is more than these flags ask for" in lines
    assert result["global_step"] == 3
    assert (copied / "config.json").read_text() == before, "it describes the checkpoint that is there"


def test_another_number_of_images(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    more = shutil.copytree(trained[1], tmp_path / "more")
    write_images(more / "train" / "cat", 1, first=90)
    before = {path: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    with pytest.raises(CheckpointError) as refused:
        Run(config_of(copied, more, train_epochs=2), say=Lines())
    assert str(refused.value) == (
        f"model_dir {str(copied)!r} was trained on other images: {trained[1]}/train had 8, and {more}/train "
        "has 9; use those, or another --model_dir, or pass --allow_other_data to continue with these."
    )
    assert before == {path: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    _, lines, _ = execute(config_of(copied, more, train_epochs=2, allow_other_data=True))
    assert changed_line(lines).endswith(f"{trained[1]}/train had 8, and {more}/train has 9")
    assert "resuming from step 3 of 5" in lines
    Run(config_of(copied, more, train_epochs=2), say=Lines())  # From now on, these are its images.


def test_images_of_other_names(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = shutil.copytree(trained[1], tmp_path / "other")
    (other / "train" / "cat" / "000.png").rename(other / "train" / "cat" / "900.png")
    with pytest.raises(CheckpointError, match=f"names of the 8 images of {other}/train differ from those of"):
        Run(config_of(copied, other), say=Lines())


def test_a_directory_of_an_earlier_version_resumes(copied: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """It has no record of its images, and its classifier was trained at the network's learning rate."""
    (copied / IMAGES_FILE).unlink()
    config = json.loads((copied / CONFIG_FILE).read_text())
    del config["optimizer"]["online_learning_rate"]
    (copied / CONFIG_FILE).write_text(json.dumps(config))
    other = pictures(tmp_path / "other")
    write_images(other / "train" / "dog", 1, first=90)
    line = started(config_of(copied, other))
    assert line.startswith(
        "changed since the last start: online_learning_rate was 0.0, is 0.2; data_dir was "
    )


def test_a_record_that_cannot_be_read(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path
) -> None:
    (copied / IMAGES_FILE).write_text('{"train": 8}')
    with pytest.raises(CheckpointError, match=r"images\.json cannot be read .*restore a copy of it"):
        Run(config_of(copied, trained[1]), say=Lines())


def test_an_evaluation_looks_at_any_images(copied: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = pictures(tmp_path / "other")
    write_images(other / "train" / "dog", 1, first=90)
    Run(config_of(copied, other, mode="eval", eval_split="train"), say=Lines())


def test_an_evaluation_of_fewer_images_than_were_trained_on(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path
) -> None:
    """It was refused for its batch; its epochs were shorter, and it took an early checkpoint for the last."""
    config = config_of(copied, trained[1], mode="eval", train_split="train[:3]", eval_split="train")
    plan = Run(config, say=Lines()).plan
    assert plan.train_source.num_examples == 3
    assert plan.steps == 3 and plan.epoch(2) == 1.0


def test_an_evaluation_takes_the_labels_that_there_are(
    trained: tuple[pathlib.Path, pathlib.Path], copied: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    changes = {"train_mode": "supervised", "labels_per_class": 3, "train_epochs": 2, "eval_split": "train"}
    execute(config_of(tmp_path / "three", trained[1], **changes))
    fewer = tmp_path / "fewer"
    for number, name in enumerate(("cat", "dog")):
        write_images(fewer / "train" / name, 2, first=10 * number)
    plan = Run(config_of(tmp_path / "three", fewer, **{**changes, "mode": "eval"}), say=Lines()).plan
    assert plan.train_source.num_examples == 4
    with pytest.raises(DataError, match="3 labels per class are requested"):
        Run(config_of(tmp_path / "new", fewer, **changes), say=Lines())


def test_the_names_are_those_within_the_split(tmp_path: pathlib.Path) -> None:
    one, other = pictures(tmp_path / "one"), pictures(tmp_path / "other")
    found = [list_image_files(str(folder), "train").names_hash for folder in (one, other, one / "train")]
    assert len(set(found)) == 1
    assert list_image_files(str(one), "train[:4]").names_hash not in found


def test_of_a_dataset_without_names_the_number_counts() -> None:
    source = load_source(DataConfig(dataset="digits"), "train[:40]")
    before = training_images(source, None)
    assert before == {"train": TrainingImages("digits/train[:40]", 40)}
    assert changes(before, {"train": TrainingImages("digits/train[:40]", 41)})
    assert not changes(before, {"train": TrainingImages("elsewhere", 40, "abc")})
    assert not changes({}, before)


@pytest.mark.parametrize("stage", ["supervised", "pretrain"])
def test_labels_of_a_file_that_were_corrected(tmp_path: pathlib.Path, stage: str) -> None:
    """Nobody else would notice; only what learns the labels has to know."""
    folder = pictures(tmp_path / "pictures")
    labels = {
        f"train/{name}/{number + i:03}.png": name
        for number, name in ((0, "cat"), (10, "dog"))
        for i in (0, 1)
    }

    def config(**changes) -> ExperimentConfig:
        (tmp_path / "labels.csv").write_text("\n".join(["path,label", *map(",".join, labels.items())]))
        own = {"train_mode": stage, "labels_from": str(tmp_path / "labels.csv"), "train_steps": 1}
        return config_of(tmp_path / "run", folder, **{**own, **changes})

    execute(config())
    Run(config(train_steps=2))
    labels["train/cat/000.png"], labels["train/dog/010.png"] = "dog", "cat"
    if stage == "pretrain":
        Run(config(train_steps=2))
        return
    with pytest.raises(CheckpointError, match=r"the labels of the 4 images of .* differ from those of"):
        Run(config(train_steps=2))
    line = started(config(train_steps=2, allow_other_data=True))
    assert "the labels of the 4 images" in line
