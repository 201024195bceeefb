"""What a folder holds, and how its labels are divided."""

import collections
import os
import shutil

import pytest

from tests.data.image_files import write_images
from tf_simclrv2 import DataError
from tf_simclrv2.auto import pictures as pictures_module
from tf_simclrv2.auto.linked_folders import link_classes, link_folder, write_labels
from tf_simclrv2.auto.pictures import look_at, split_labels
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import load_source
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


def test_labeled_pictures_that_cannot_be_read_are_left_out(folder):
    """Of a few labels, a run tolerates one; and the one may be all that a class has to choose by."""
    names = sorted(os.listdir(folder / "train"))
    for name in names[:2]:
        whole = (folder / "train" / name).read_bytes()
        (folder / "train" / name).write_bytes(whole[: len(whole) // 2])
    found = look_at(str(folder), labels_file(folder, dog=names[:4], cat=names[4:7]))
    assert {name: len(paths) for name, paths in found.labeled.items()} == {"cat": 3, "dog": 2}
    (note,) = found.notes
    assert note.startswith("2 labeled picture(s) cannot be read and are left out: ")
    assert all(name in note for name in names[:2])
    with pytest.raises(DataError, match=r"fewer than two classes can be read \("):
        look_at(str(folder), labels_file(folder, dog=names[:2], cat=names[4:7]))


def test_of_many_pictures_those_of_small_classes_are_looked_at(folder, monkeypatch):
    """The only one that a class had to choose by could be the one that cannot be read."""
    monkeypatch.setattr(pictures_module, "MOST_LOOKED_AT", 10)
    names = sorted(os.listdir(folder / "train"))
    for name in (names[0], names[19]):
        (folder / "train" / name).write_bytes(b"no picture")
    found = look_at(str(folder), labels_file(folder, dog=names[:3], cat=names[3:]))
    assert {name: len(paths) for name, paths in found.labeled.items()} == {"cat": 17, "dog": 2}


def test_test_pictures_that_cannot_be_read_are_named_before_hours_of_work(folder):
    names = sorted(os.listdir(folder / "train"))
    labels = labels_file(folder, dog=names[:4], cat=names[4:7])
    first, second = sorted((folder / "test" / "cat").iterdir())[:2]
    first.write_bytes(b"no picture")
    look_at(str(folder), labels)
    second.write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=f"2 of 20 pictures in test cannot be read, but at most 1 may be.*{first}"
    ):
        look_at(str(folder), labels)
    assert look_at(str(folder), labels, max_skipped_fraction=0.1).test_folder


def test_a_folder_without_labels(folder):
    found = look_at(str(folder))
    assert found.labeled == {} and found.test_folder is None and found.label_count == found.fewest_labels == 0


def test_class_folders_without_train(folder):
    found = look_at(str(folder / "test"))
    assert found.folder == str(folder / "test") and found.label_count == 20 and found.test_folder is None


def test_labels_that_are_not_classes_of_the_test_pictures_are_refused(folder):
    """As `simclrv2 run` does, in its words."""
    names = sorted(os.listdir(folder / "train"))
    path = labels_file(folder, dog=names[:3], cat=names[3:5], dgo=names[5:6])
    with pytest.raises(DataError, match=r"label 1 is 'dgo' in the former .*; correct the labels in '.*csv'"):
        look_at(str(folder), path)


def test_class_folders_that_differ_from_the_test_pictures_are_refused(folder):
    for number, name in enumerate(("cat", "wolf")):
        write_images(folder / "train" / name, 10, first=200 + 10 * number)
    for path in (folder / "train").glob("*.*"):
        path.unlink()
    with pytest.raises(DataError, match=r"give both the same class folders"):
        look_at(str(folder))


def test_a_class_of_the_test_pictures_without_a_label_is_said(folder):
    write_images(folder / "test" / "owl", 3, first=300)
    names = sorted(os.listdir(folder / "train"))
    found = look_at(str(folder), labels_file(folder, dog=names[:3], cat=names[3:5]))
    assert found.test_folder == str(folder / "test") and found.fewest_labels == 2
    assert found.notes == ("no label yet of owl, whose pictures in test count as errors",)


def test_test_pictures_without_classes_are_said(folder):
    shutil.rmtree(folder / "test")
    write_images(folder / "test", 4, first=300)
    names = sorted(os.listdir(folder / "train"))
    found = look_at(str(folder), labels_file(folder, dog=names[:3], cat=names[3:5]))
    assert found.test_folder is None
    assert found.notes == ("the pictures in test are not used, as they are not sorted into class folders",)


def test_a_class_folder_without_a_label_in_the_file_has_none_to_hold_out(folder):
    names = [f"{of}/{path.name}" for of in ("cat", "dog") for path in (folder / "test" / of).iterdir()]
    write_images(folder / "test" / "owl", 3, first=300)
    path = folder / "labels.csv"
    path.write_text("path,label\n" + "".join(f"{name},{name[:3]}\n" for name in names))
    found = look_at(str(folder / "test"), str(_moved(path, folder / "test")))
    assert found.unlabeled_classes == ("owl",) and found.fewest_labels == 0 and found.label_count == 20


def _moved(path, folder):
    return path.rename(folder.parent / "moved.csv")


def test_labels_of_a_single_class_are_refused(folder):
    names = sorted(os.listdir(folder / "train"))
    with pytest.raises(DataError, match=r"names only the class 'dog' in .*; label pictures of two classes"):
        look_at(str(folder), labels_file(folder, dog=names[:3]))


def test_written_labels_are_read_as_labels_from(folder, tmp_path):
    """Names with commas and spaces among them."""
    names = sorted(os.listdir(folder / "train"))
    (folder / "train" / names[0]).rename(folder / "train" / 'a "b", c.png')
    labeled = {
        "cat": (str(folder / "train" / 'a "b", c.png'),),
        "dog, old": (str(folder / "train" / names[1]),),
    }
    data = tmp_path / "job" / "data"
    link_folder(str(data / "pictures"), str(folder / "train"))
    write_labels(str(data / "learn.csv"), "pictures", str(folder / "train"), labeled)
    config = DataConfig("image_folder", str(data), labels_from=str(data / "learn.csv"))
    source = load_source(config, "pictures")
    assert source.class_names == ("cat", "dog, old") and source.num_examples == 20
    found = {
        os.path.basename(record["path"].decode()): int(record["label"])
        for record in source.records.as_numpy_iterator()
        if record["label"] >= 0
    }
    assert found == {'a "b", c.png': 0, names[1]: 1}


@pytest.mark.parametrize("name", ["cat/dog", "../cat", ".cat", "/tmp/cat"])
def test_a_class_that_cannot_be_a_folder_is_refused(folder, name):
    names = sorted(os.listdir(folder / "train"))
    shutil.rmtree(folder / "test")
    with pytest.raises(DataError, match=f"names the class {name!r}, but auto sorts"):
        look_at(str(folder), labels_file(folder, dog=names[:3], **{name: names[3:5]}))


def test_an_empty_class_folder_may_be_ignored(folder):
    (folder / "test" / "bird").mkdir()
    with pytest.raises(DataError, match="--ignore_empty_classes"):
        look_at(str(folder / "test"))
    assert look_at(str(folder / "test"), ignore_empty_classes=True).label_count == 20


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
