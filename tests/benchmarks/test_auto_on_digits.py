"""auto beside the stages that were tuned by hand: what both are given, and the table of what they reach."""

from __future__ import annotations

import csv
import pathlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks import auto_on_digits
from benchmarks.auto_on_digits import Measured, Settings, table, write_pictures
from benchmarks.measuring.measured_page import NOTHING, shown_part


def test_pictures_and_labels_are_those_of_the_digits(tmp_path: pathlib.Path) -> None:
    settings = Settings()
    write_pictures(tmp_path, settings)
    train, test = sorted((tmp_path / "train").iterdir()), sorted((tmp_path / "test").rglob("*.png"))
    assert (len(train), len(test)) == (1437, 360)
    assert not {path.name for path in train} & {path.name for path in test}
    digits = load_digits()
    named = {path.name: path.parent.name for path in test}
    drawn = []
    for draw in settings.draws:
        with (tmp_path / f"labels_{draw}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len({row["path"] for row in rows}) == 70
        drawn.append({row["path"] for row in rows})
        for row in rows:
            assert (tmp_path / row["path"]).parent.name == "train"
            named[pathlib.Path(row["path"]).name] = row["label"]
    assert len(drawn[0] & drawn[1]) < 20
    for name, label in named.items():
        index = int(name.removesuffix(".png"))
        assert label == f"digit_{digits.target[index]}"
        path = tmp_path / "train" / name
        pixels = np.asarray(Image.open(path if path.exists() else tmp_path / "test" / label / name))
        np.testing.assert_allclose(pixels / 255, digits.images[index] / 16, atol=0.002)


def test_the_table_has_a_column_for_each_draw_and_a_mean_of_complete_lines() -> None:
    measured = Measured(pathlib.Path("none"), Settings())
    assert table(measured) == NOTHING
    measured.results = {
        "by hand/0": {"finetuned": 0.9, "distilled": 0.92},
        "by hand/1": {"finetuned": 0.8, "distilled": 0.82},
        "auto/0": {"finetuned": 0.91, "exported": 0.91, "seconds": 570.0},
    }
    assert table(measured).splitlines() == [
        "| | labels 0 | labels 1 | mean |",
        "|---|---|---|---|",
        "| by hand, fine-tuned | 90.0 | 80.0 | 85.0 |",
        "| by hand, self-distilled | 92.0 | 82.0 | 87.0 |",
        "| auto, fine-tuned | 91.0 |  |  |",
        "| auto, what it exports | 91.0 |  |  |",
        "",
        "Auto took 9.5 minutes.",
    ]


def test_the_page_shows_the_committed_results() -> None:
    shown = shown_part(auto_on_digits.DOCS / "auto.md")
    assert shown == table(Measured.open(auto_on_digits.DOCS / "measured" / "auto.json", Settings()))
