"""The commands of docs/work.md, typed in their order on a small folder, with nothing but sizes changed."""

from __future__ import annotations

import csv
import pathlib
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.docs.typed_commands import ROOT, Shell, commands_of, make_program
from tests.programs import port_of

TIME_LIMIT = 300
# What is made smaller, and how.
SIZES = {
    " --doctor ": " --doctor --trial_steps=3 ",
    "--flagfile=own_folder ": "--flagfile=own_folder --image_size=8 --train_epochs=8 --train_batch_size=16 ",
    "--flagfile=own_folder_finetune ": "--flagfile=own_folder_finetune --train_epochs=30 ",
}
# A port that is free.
PORT = "8501"
# Of digits, which are written in random colors.
CLASSES = {0: "zero", 1: "one", 4: "four"}
TRAIN, TEST = 40, 10
# In pictures/: a copy, and what it is a copy of.
COPIES = {
    "train/again.png": "train/zero_03.png",
    "train/saved_anew.jpg": "train/one_05.png",
    "train/from_the_test.png": "test/four/02.png",
}


def picture_of(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A digit of 8 pixels as a picture of 32, bright on dark."""
    ink = np.array(
        Image.fromarray((digit * 15.9).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
    )
    share = ink[..., np.newaxis] / 255.0
    dark, bright = rng.uniform(0, 90, [32, 32, 3]) * rng.uniform(size=3), rng.uniform(110, 255, 3)
    return Image.fromarray((dark + share * (bright - dark)).astype(np.uint8))


def make_folder(folder: pathlib.Path) -> None:
    """Loose pictures to train on, whose names tell a person what they are, sorted ones to test, and copies."""
    digits, rng = load_digits(), np.random.default_rng(0)
    for digit, name in CLASSES.items():
        for number, index in enumerate(np.flatnonzero(digits.target == digit)[: TRAIN + TEST].tolist()):
            loose = number >= TEST
            path = folder / ("train" if loose else f"test/{name}")
            path.mkdir(parents=True, exist_ok=True)
            picture = picture_of(digits.images[index], rng)
            picture.save(path / (f"{name}_{number - TEST:02d}.png" if loose else f"{number:02d}.png"))
    for copy, original in COPIES.items():
        Image.open(folder / original).save(folder / copy, quality=95)


def fill_in_labels(table: pathlib.Path) -> list[str]:
    """What a person does who sees the pictures; returns the labels."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = pathlib.Path(row["path"]).name.split("_")[0]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return [row["label"] for row in rows]


def smaller_commands() -> Iterator[str]:
    """The page's commands with smaller sizes; benchmarks are not of the afternoon."""
    commands = [line for line in commands_of("work.md") if not line.startswith("python benchmarks/")]
    unused = [size for size in SIZES if not any(size in line for line in commands)]
    assert not unused
    for command in commands:
        for size, smaller in SIZES.items():
            command = command.replace(size, smaller)
        yield command


@pytest.fixture
def desk(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the reader sits: pictures, the examples, and the programs in a folder of their own."""
    make_folder(tmp_path / "pictures")
    shutil.copy(tmp_path / "pictures" / "test" / "four" / "07.png", tmp_path / "holiday.jpg")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    make_program(tmp_path / "programs" / "python")
    make_program(tmp_path / "programs" / "simclrv2", "-m", "tf_simclrv2")
    return tmp_path


def test_an_afternoon(desk: pathlib.Path) -> None:
    shell = Shell(desk, checkout=ROOT, programs=desk / "programs")
    said: dict[str, str] = {}
    server, port = None, PORT
    try:
        for command in smaller_commands():
            if command.startswith("simclrv2 serve"):
                server = shell.leave_running(f"{command} --port=0", desk / "server.log")
                port = str(port_of(server, desk / "server.log"))
                continue
            said[command] = shell.type(command.replace(f":{PORT}/", f":{port}/"), TIME_LIMIT)
            if command.startswith("simclrv2 select"):
                labels = fill_in_labels(desk / "to_label.csv")
    finally:
        if server is not None:
            server.kill()

    listed = {pathlib.Path(line).name for line in (desk / "copies.txt").read_text().splitlines()}
    (answer,) = [text for command, text in said.items() if "classify.py" in command]
    assert answer.startswith("holiday.jpg four ")
