"""A list of names without labels chooses whose labels are used."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow_datasets as tfds

from tests.data.image_files import write_images
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import label_subset, load_source
from tf_simclrv2.errors import DataError


@pytest.fixture
def folders(tmp_path) -> DataConfig:
    for split, classes in (("train", ("ant", "bee", "cat")), ("test", ("ant", "bee", "cat"))):
        for name in classes:
            write_images(tmp_path / "pictures" / split / name, 3)
    return DataConfig(dataset="image_folder", data_dir=str(tmp_path / "pictures"))


def listed(config: DataConfig, tmp_path, text: str) -> DataConfig:
    (tmp_path / "some.txt").write_text(text)
    return dataclasses.replace(config, labels_from=str(tmp_path / "some.txt"))


def labels_of(source) -> list[int]:
    return [int(record["label"]) for record in source.records]


def test_images_that_it_names_keep_their_labels(folders, tmp_path):
    config = listed(folders, tmp_path, "train/ant/001.png\n\ntrain/cat/000.png\nelsewhere.png\n")
    source = load_source(config, "train")
    assert source.class_names == ("ant", "bee", "cat")
    assert sorted(label for label in labels_of(source) if label >= 0) == [0, 2]
    assert labels_of(label_subset(source, config)) == [0, 2]
    assert "labels of 2 of the 3 images in" in source.summary


def test_file_names_alone_do_as_in_the_published_lists(folders, tmp_path):
    bee = tmp_path / "pictures" / "train" / "bee"
    (bee / "000.png").rename(bee / "n0123_45.JPEG")
    source = load_source(listed(folders, tmp_path, "n0123_45.JPEG\n"), "train")
    assert sorted(labels_of(source))[-2:] == [-1, 1]


def test_a_file_name_of_several_images_is_refused(folders, tmp_path):
    """The labels of all of them were used."""
    with pytest.raises(DataError, match=r"names '001\.png', which is the file name of .*001\.png' and"):
        load_source(listed(folders, tmp_path, "001.png\n"), "train")


def test_a_split_that_it_does_not_name_keeps_its_own(folders, tmp_path):
    config = listed(folders, tmp_path, "train/ant/001.png\n")
    assert sorted(labels_of(load_source(config, "test"))) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_images_of_tfds_are_known_by_their_file_name(tmp_path):
    with tfds.testing.mock_data(num_examples=20):
        config = DataConfig(dataset="imagenet2012_subset/1pct")
        builder = tfds.builder("imagenet2012_subset/1pct")
        names = [row["file_name"].numpy().decode() for row in builder.as_dataset(split="train")]
        whole = labels_of(load_source(config, "train"))
        few = labels_of(load_source(listed(config, tmp_path, f"{names[3]}\n{names[11]}\n"), "train"))
    chosen = {row for row, name in enumerate(names) if name in (names[3], names[11])}
    assert few == [label if row in chosen else -1 for row, label in enumerate(whole)]


def test_a_list_of_paths_names_images_of_tfds_too(tmp_path):
    with tfds.testing.mock_data(num_examples=20):
        config = DataConfig(dataset="imagenet2012_subset/1pct")
        rows = tfds.builder("imagenet2012_subset/1pct").as_dataset(split="train")
        names = [row["file_name"].numpy().decode() for row in rows]
        bare = labels_of(load_source(listed(config, tmp_path, f"{names[3]}\n"), "train"))
        paths = labels_of(load_source(listed(config, tmp_path, f"n0144/{names[3]}\n"), "train"))
    assert paths == bare and any(label >= 0 for label in paths)


@pytest.mark.parametrize("changes", [{}, {"labels_per_class": 1, "labels_per_class_at_most": True}])
def test_a_list_that_names_no_image_of_tfds_is_refused(tmp_path, changes):
    with tfds.testing.mock_data(num_examples=20):
        config = DataConfig(dataset="imagenet2012_subset/1pct", **changes)
        config = listed(config, tmp_path, "nobody.JPEG\n")
        source = load_source(config, "train", "--train_mode=finetune")
        with pytest.raises(DataError, match="names none of the images of imagenet2012_subset/1pct/train"):
            label_subset(source, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "names no images; write one name per line"),
        ("a.png\nb.png\na.png", "names 'a.png' more than once"),
    ],
)
def test_wrong_lists_are_one_sentence(folders, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_source(listed(folders, tmp_path, text), "train")


def test_a_list_needs_labels_to_choose_from(tmp_path):
    write_images(tmp_path / "pictures" / "train", 3)
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path / "pictures"))
    with pytest.raises(DataError, match="a list without labels, but the images have no class folders"):
        load_source(listed(config, tmp_path, "000.png\n"), "train")
    with (
        tfds.testing.mock_data(num_examples=5),
        pytest.raises(DataError, match="but cifar10 has no feature file_name"),
    ):
        load_source(listed(DataConfig(dataset="cifar10"), tmp_path, "x\n"), "train")


def test_a_list_that_is_not_there(folders):
    with pytest.raises(DataError, match=r"'/nowhere\.txt' cannot be read"):
        load_source(dataclasses.replace(folders, labels_from="/nowhere.txt"), "train")
