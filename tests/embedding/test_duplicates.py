"""Planted copies are found, in the right groups, and nothing else."""

import csv
import dataclasses

import numpy as np
import pytest

from tests.embedding.made_up import embeddings_of, written
from tf_simclrv2 import ConfigError, DataError
from tf_simclrv2.embedding import duplicates
from tf_simclrv2.embedding.duplicates import find_duplicates
from tf_simclrv2.embedding.duplicates_config import DuplicatesConfig
from tf_simclrv2.embedding.embeddings import Origin

RNG = np.random.default_rng(5)
WIDTH = 32


def names_in(found):
    return {frozenset(image.name for image in group) for group in found.groups}


@pytest.fixture
def files(tmp_path):
    """Rows 3 and 40 of the first file are copies but for noise, and row 8 of it and 1 of the second."""
    first, second = RNG.standard_normal([60, WIDTH]), RNG.standard_normal([20, WIDTH])
    first[40] = 2 * first[3] + 1e-3 * RNG.standard_normal(WIDTH)
    second[1] = first[8] + 1e-3 * RNG.standard_normal(WIDTH)
    classes = ["cat"] * 60
    classes[40] = "dog"
    return (
        written(embeddings_of(first, "train", classes), tmp_path / "train.npz"),
        written(embeddings_of(second, "test"), tmp_path / "test.parquet"),
    )


def test_copies_are_found_within_and_between_files(files, tmp_path):
    outputs = (str(tmp_path / "found.csv"), str(tmp_path / "found.html"))
    found = find_duplicates(DuplicatesConfig(files, outputs=outputs), print)
    assert names_in(found) == {frozenset({"train 3", "train 40"}), frozenset({"train 8", "test 1"})}
    assert found.summary == (
        "2 groups of near-duplicates with 4 of 80 images; 1 of them across several files; "
        "1 with different classes"
    )
    assert {image.file for image in found.groups[0]} == set(files)  # Those of several files come first.
    with open(outputs[0]) as table:
        rows = list(csv.DictReader(table))
    assert [row["group"] for row in rows] == ["1", "1", "2", "2"]
    assert all(float(row["cosine"]) > 0.999 for row in rows)
    assert "of different classes: cat, dog" in (tmp_path / "found.html").read_text()


def test_the_list_of_copies_keeps_the_first_of_each_group(files, tmp_path):
    """With the test images first, none of them is on the list for what the training images repeat."""
    train, test = files
    output = str(tmp_path / "copies.txt")
    find_duplicates(DuplicatesConfig((test, train), outputs=(output,)), print)
    with open(output) as lines:
        assert lines.read().splitlines() == ["train 8", "train 40"]


def test_the_list_of_copies_has_paths_that_lead_there(tmp_path):
    vectors = np.eye(4, WIDTH)[[0, 1, 0, 2]]
    found = dataclasses.replace(embeddings_of(vectors), origin=Origin(folder="/pictures"))
    copies = tmp_path / "copies.txt"
    config = DuplicatesConfig((written(found, tmp_path / "all.npz"),), outputs=(str(copies),))
    assert find_duplicates(config, print).copies == ("/pictures/image 2",)
    assert copies.read_text() == "/pictures/image 2\n"


def test_groups_join_what_is_linked(tmp_path):
    """a is like b and b like c, so the three are one group."""
    angles = np.array([0.0, 0.1, 0.2, 1.5])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    path = written(embeddings_of(circle), tmp_path / "circle.csv")
    found = find_duplicates(DuplicatesConfig((path,), above=0.99), print)
    assert names_in(found) == {frozenset({"image 0", "image 1", "image 2"})}
    assert [round(image.cosine, 4) for image in found.groups[0]] == [0.995] * 3
    assert find_duplicates(DuplicatesConfig((path,), above=0.999), print).groups == ()


@pytest.mark.parametrize("folder", ["/pictures", ""], ids=["folder", "dataset"])
def test_the_same_file_in_two_embeddings_is_no_duplicate(tmp_path, folder):
    vectors = RNG.standard_normal([5, WIDTH])
    one = dataclasses.replace(embeddings_of(vectors), origin=Origin(folder=folder))
    paths = tuple(written(one, tmp_path / f"{name}.npz") for name in ("a", "b"))
    found = find_duplicates(DuplicatesConfig(paths), print)
    assert found.groups == () and found.summary == "no near-duplicates among 5 images"


def test_a_file_that_links_lead_to_is_no_copy(tmp_path):
    """Else deleting the copies would delete it."""
    (tmp_path / "real").mkdir()
    for i in range(3):
        (tmp_path / "real" / f"image {i}").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "image 3").symlink_to("image 1")
    vectors = np.eye(3, WIDTH)[[0, 1, 0, 1]]
    paths = tuple(
        written(
            dataclasses.replace(embeddings_of(vectors), origin=Origin(folder=str(tmp_path / folder))),
            tmp_path / f"{folder}.npz",
        )
        for folder in ("real", "link")
    )
    found = find_duplicates(DuplicatesConfig(paths), print)
    assert found.copies == (str(tmp_path / "real" / "image 2"),)


def test_a_network_that_finds_everything_alike_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 100)
    path = written(embeddings_of(np.ones([30, 4])), tmp_path / "alike.npz")
    with pytest.raises(DataError, match=r"more than 100 pairs of images have a cosine above 0\.99"):
        find_duplicates(DuplicatesConfig((path,)), print)


def test_settings_that_cannot_be_used(files):
    with pytest.raises(ConfigError, match=r"above is 1\.0; it must be at least -1 and below 1"):
        DuplicatesConfig(files, above=1.0)
    with pytest.raises(ConfigError, match="there is no embedding file"):
        DuplicatesConfig(())
    with pytest.raises(ConfigError, match="which is read too; choose another name"):
        DuplicatesConfig(("features.csv",), outputs=("features.csv",))
