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

TIME_LIMIT = 900
# What is made smaller, and how.
SIZES = {
    " --doctor ": " --doctor --trial_steps=3 ",
    "--flagfile=own_folder ": "--flagfile=own_folder --image_size=8 --train_epochs=8 --train_batch_size=16 ",
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
    """Loose pictures to train on, named after what a person sees; sorted ones to test; and copies."""
    digits, rng = load_digits(), np.random.default_rng(0)
    for digit, name in CLASSES.items():
        for number, index in enumerate(np.flatnonzero(digits.target == digit)[: TRAIN + TEST].tolist()):
            loose = number >= TEST
            path = folder / ("train" if loose else f"test/{name}")
            path.mkdir(parents=True, exist_ok=True)
            picture = picture_of(digits.images[index], rng)
            picture.save(path / (f"{name}_{number - TEST:02d}.png" if loose else f"{number:02d}.png"))
    for copy, original in COPIES.items():
        Image.open(folder / original).save(folder / copy, quality=95, subsampling=0)


def fill_in_labels(table: pathlib.Path) -> None:
    """What a person does who sees the pictures."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = pathlib.Path(row["path"]).name.split("_")[0]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def smaller_commands() -> Iterator[str]:
    """The page's commands with smaller sizes, up to where the server has answered."""
    commands = commands_of("work.md")
    (last,) = (index for index, line in enumerate(commands) if "classify.py" in line)
    commands = commands[: last + 1]
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


@pytest.fixture
def said(desk: pathlib.Path) -> dict[str, str]:
    """What the commands printed, by their first two words."""
    shell = Shell(desk, checkout=ROOT, programs=desk / "programs")
    found: dict[str, str] = {}
    port, servers = PORT, []
    try:
        for command in smaller_commands():
            words = " ".join(command.split()[:2])
            if words == "simclrv2 serve":
                servers.append(shell.leave_running(f"{command} --port=0", desk / "server.log"))
                port = str(port_of(servers[0], desk / "server.log", TIME_LIMIT))
                continue
            answer = shell.type(command.replace(f":{PORT}/", f":{port}/"), TIME_LIMIT)
            found[words] = found.get(words, "") + answer
            if words == "simclrv2 select":
                fill_in_labels(desk / "to_label.csv")
    finally:
        for server in servers:
            server.kill()
    return found


def test_an_afternoon(desk: pathlib.Path, said: dict[str, str]) -> None:
    pictures = desk / "pictures"
    total = TRAIN * len(CLASSES)
    assert f"{total + len(COPIES)} images without classes" in said["simclrv2 run"]
    # The doctor does not advise against what a folder without classes wants.
    assert "labels: --mode=" not in said["simclrv2 run"]

    # Every copy was found, one of each is gone, and the test lost nothing.
    removed = {str(pathlib.Path(line).relative_to(pictures)) for line in lines_of(desk / "copies.txt")}
    assert all(len({copy, original} & removed) == 1 for copy, original in COPIES.items())
    assert len(removed) == len(COPIES) and "train/from_the_test.png" in removed
    assert not any((pictures / name).exists() for name in removed)
    assert len(list(pictures.glob("train/*"))) == total
    assert len(list(pictures.glob("test/*/*"))) == TEST * len(CLASSES)
    assert f"embedded {total} images: cleaned.parquet" in said["simclrv2 embed"]

    # Fifty labels of what is left, which train a classifier; both evaluations agree.
    chosen = lines_of(desk / "to_label.csv")[1:]
    assert len(chosen) == 50 and not removed & {line.split(",")[0] for line in chosen}
    assert "50 labels in 3 classes from to_label.csv" in said["simclrv2 run"]
    (accuracy,) = re.findall(r"^result: step 61, top-1 ([\d.]+)", said["simclrv2 run"], re.MULTILINE)
    assert float(accuracy) > 0.6  # Chance is a third; 0.97 and 0.87 were seen after half of the steps.
    assert f"top-1 {accuracy}" in said["simclrv2 eval"]
    for page in ("runs/mine/report.html", "runs/mine_50/report.html", "duplicates.html", "hits.html"):
        assert (desk / page).stat().st_size > 5_000

    assert re.fullmatch(r"holiday\.jpg four [01]\.\d{3}\n", said["python docs/examples/classify.py"])


def lines_of(path: pathlib.Path) -> list[str]:
    return path.read_text().splitlines()
