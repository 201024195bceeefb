"""What a folder holds, and how its labels are divided."""

import collections
import os

import pytest

from tests.data.image_files import write_images
from tf_simclrv2 import DataError
from tf_simclrv2.auto.linked_folders import link_classes, link_folder
from tf_simclrv2.auto.pictures import look_at, split_labels
from tf_simclrv2.data.image_folder import list_image_files


@pytest.fixture
def folder(tmp_path):
    """Twenty pictures without classes, and as many held back in two."""
    write_images(tmp_path / "train", 20)
    for number, name in enumerate(("cat", "dog")):
        write_images(tmp_path / "test" / name, 10, first=100 + 10 * number)
    return tmp_path


def labels_file(folder, **classes) -> str:
    lines = [f"train/{name},{of}" for of, names in classes.items() for name in names]
    path = folder / "labels.csv"
    path.write_text("\n".join(["path,label", *lines]) + "\n")
    return str(path)


def test_a_flat_folder_with_labels_in_a_file(folder):
    names = sorted(os.listdir(folder / "train"))
    found = look_at(str(folder), labels_file(folder, dog=names[:3], cat=names[3:5]))
    assert found.folder == str(folder / "train") and found.count == 20
    assert {
        of: [os.path.basename(path) for path in sorted(paths)] for of, paths in found.labeled.items()
    } == {
        "cat": names[3:5],
        "dog": names[:3],
    }
    assert list(found.labeled) == ["cat", "dog"]
    assert (found.label_count, found.fewest_labels) == (5, 2)
    assert found.test_folder == str(folder / "test")


def test_a_folder_without_labels(folder):
    found = look_at(str(folder))
    assert found.labeled == {} and found.test_folder is None and found.label_count == found.fewest_labels == 0


def test_class_folders_without_train(folder):
    found = look_at(str(folder / "test"))
    assert found.folder == str(folder / "test") and found.label_count == 20 and found.test_folder is None


def test_other_classes_are_not_held_back(folder):
    (folder / "test" / "dog").rename(folder / "test" / "wolf")
    names = sorted(os.listdir(folder / "train"))
    assert look_at(str(folder), labels_file(folder, dog=names[:3], cat=names[3:5])).test_folder is None


def test_what_cannot_be_used_is_refused(folder):
    write_images(folder / "few", 5)
    with pytest.raises(DataError, match="holds 5 pictures, but pretraining contrasts at least 16"):
        look_at(str(folder / "few"))
    names = [path.name for path in (folder / "test" / "cat").iterdir()]
    path = folder / "labels.csv"
    path.write_text("path,label\n" + "".join(f"test/cat/{name},cat\n" for name in names))
    with pytest.raises(DataError, match=r"names no picture in .* that is trained on"):
        look_at(str(folder), str(path))


def test_labels_are_split_class_by_class():
    labeled = {
        name: tuple(f"/{name}/{i}" for i in range(count)) for name, count in (("a", 2), ("b", 7), ("c", 40))
    }
    learn, choose = split_labels(labeled)
    assert {name: len(paths) for name, paths in choose.items()} == {"a": 1, "b": 2, "c": 10}
    for name, paths in labeled.items():
        assert collections.Counter((*learn[name], *choose[name])) == collections.Counter(paths)
    assert split_labels(labeled) == (learn, choose) != split_labels(labeled, seed=1)


def test_links_are_read_as_an_image_folder(folder, tmp_path):
    data = tmp_path / "job" / "data"
    every = look_at(str(folder / "test")).labeled
    for _ in range(2):  # A job that continues makes them again.
        link_folder(str(data / "pictures"), str(folder / "train"))
        link_classes(str(data / "learn"), {"cat": every["cat"][:4], "dog": every["dog"]})
    found = list_image_files(str(data), "learn")
    assert found.class_names == ("cat", "dog")
    assert collections.Counter(found.labels) == {0: 4, 1: 10}
    assert {os.path.realpath(path) for path in found.paths} == {*every["cat"][:4], *every["dog"]}
    assert len(list_image_files(str(data), "pictures").paths) == 20


def test_a_disk_without_links_is_said(folder, monkeypatch, tmp_path):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(DataError, match=r"Operation not permitted.*supports links"):
        link_classes(str(tmp_path / "learn"), {"cat": ("/a.png",)})
