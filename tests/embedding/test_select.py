"""A list to fill in, and a page to look at."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from tests.embedding.made_up import embeddings_of, written
from tf_simclrv2 import ConfigError, DataError
from tf_simclrv2.embedding.select import select
from tf_simclrv2.embedding.select_config import SelectConfig

RNG = np.random.default_rng(2)


@pytest.fixture
def made_up(tmp_path) -> str:
    return written(embeddings_of(RNG.standard_normal([40, 8])), tmp_path / "all.npz")


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


def test_the_list_and_the_page(file, tmp_path):
    output = tmp_path / "to_label.csv"
    line = select(SelectConfig(str(file), str(output), budget=5), print)
    assert line.startswith("chose 5 of 12 images without a label: ")
    rows = rows_of(output)
    assert len({row["path"] for row in rows}) == 5
    assert all(row["label"] == "" and row["prediction"] in "0123456789" for row in rows)
    page = (tmp_path / "to_label.html").read_text()
    assert [page.index(row["path"]) for row in rows] == sorted(page.index(row["path"]) for row in rows)
    assert page.count("data:image/webp") == 5


def test_what_has_a_label_is_not_chosen_again(made_up, tmp_path):
    first, second = str(tmp_path / "first.csv"), str(tmp_path / "second.csv")
    select(SelectConfig(made_up, first, budget=10), print)
    filled = [(row["path"], f"class {number % 3}") for number, row in enumerate(rows_of(first))]
    filled[0] = (filled[0][0], "")  # Nobody knew what it is.
    with open(first, "w") as table:
        csv.writer(table).writerows([("path", "label"), *filled])
    line = select(SelectConfig(made_up, second, budget=31, labeled=first), print)
    assert line.startswith("chose 31 of 31 images without a label")
    assert not {name for name, label in filled if label} & {row["path"] for row in rows_of(second)}
    with pytest.raises(ConfigError, match="budget is 32, but only 31 images have no label"):
        select(SelectConfig(made_up, str(tmp_path / "third.csv"), budget=32, labeled=first), print)


def test_labels_are_never_overwritten_unasked(made_up, tmp_path):
    output = str(tmp_path / "to_label.csv")
    select(SelectConfig(made_up, output, budget=1), print)
    with pytest.raises(ConfigError, match=r"to_label\.csv', which exists"):
        SelectConfig(made_up, output, budget=1)
    SelectConfig(made_up, output, budget=1, overwrite=True)


def test_labels_in_a_bucket_are_not_overwritten_either(made_up, monkeypatch):
    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: path == "gs://bucket")
    monkeypatch.setattr(tf.io.gfile, "exists", lambda path: path == "gs://bucket/to_label.csv")
    with pytest.raises(ConfigError, match=r"'gs://bucket/to_label\.csv', which exists"):
        SelectConfig(made_up, "gs://bucket/to_label.csv", budget=1)
    SelectConfig(made_up, "gs://bucket/others.csv", budget=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "budget is 0; it must be a finite number of at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**31}, "seed is 2147483648"),
        ({"strategy": "best"}, "choose one of typical, coverage, margin, uniform"),
        ({"output": "list.txt"}, "the list is a .csv file"),
        ({"output": "nowhere/list.csv"}, "but the folder 'nowhere' does not exist"),
        ({"labeled": "./list.csv", "overwrite": True}, "output is 'list.csv', which is read too"),
    ],
)
def test_settings_that_cannot_be_used(made_up, changes, message):
    with pytest.raises(ConfigError, match=message):
        SelectConfig(**{"embeddings": made_up, "output": "list.csv", "budget": 1, **changes})


def test_labels_of_unknown_images(made_up, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\nnobody.png,cat\n")
    config = SelectConfig(made_up, str(tmp_path / "x.csv"), budget=1, labeled=str(tmp_path / "labels.csv"))
    with pytest.raises(DataError, match=r"names 'nobody\.png', which is none of the 40 embedded images"):
        select(config, print)
    assert not (tmp_path / "x.csv").exists()
