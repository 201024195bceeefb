"""What a folder holds, what of it is taken, and what is said about the rest."""

import dataclasses
import os
import pathlib

import pytest

from tests.data.image_files import encoded, write_images
from tests.data.mutations import claiming
from tf_simclrv2 import DataConfig, DataError
from tf_simclrv2.data import check_same_classes, load_source
from tf_simclrv2.data.class_names import refuse_other_class_names
from tf_simclrv2.data.folder_walk import FolderWalk
from tf_simclrv2.data.image_folder import list_image_files


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images, and other files between them."""
    for number, name in enumerate(("cat", "dog")):
        write_images(tmp_path / "train" / name, 2, first=10 * number)
    for name in ("cat/a.txt", "cat/b.TXT", "dog/bark.ogg", "dog/c.txt", "dog/purr.OGG", "LICENSE"):
        (tmp_path / "train" / name).touch()
    (tmp_path / "train" / "dog" / ".hidden.png").touch()
    return tmp_path


def classes_of(found) -> list[str]:
    return sorted(pathlib.Path(path).parent.name for path in found.paths)


def test_what_is_not_taken_is_counted(folder):
    summary = list_image_files(str(folder), "train").summary
    assert summary == (
        "4 images in 2 classes (cat, dog); "
        "7 other files ignored: 3 .txt, 2 .ogg, 1 without extension, 1 hidden"
    )


def test_pictures_of_other_formats_are_counted_among_many_kinds_of_files(folder):
    for name in ("a.HEIC", "b.svg", "c.heic", *(f"{i}.{i}{j}" for i in range(9) for j in range(2))):
        (folder / "train" / "cat" / name).touch()
    summary = list_image_files(str(folder), "train").summary
    assert "; 3 pictures in formats that are not read: 2 .heic, 1 .svg; 25 other files ignored: " in summary


def test_a_run_says_it_in_one_line(folder):
    source = load_source(DataConfig(dataset="image_folder", data_dir=str(folder)), "train")
    assert "7 other files ignored" in source.summary and "\n" not in source.summary


def test_where_everything_is_taken(tmp_path):
    write_images(tmp_path / "train", 3)
    assert list_image_files(str(tmp_path), "train").summary == "3 images without classes; no files ignored"


def test_a_class_without_images_is_refused_by_name(folder):
    (folder / "train" / "owl").mkdir()
    (folder / "train" / "owl" / "hoot.ogg").touch()
    with pytest.raises(DataError, match=r"holds no image of owl that can be read; .*--ignore_empty_classes"):
        list_image_files(str(folder), "train")
    found = list_image_files(str(folder), "train", ignore_empty_classes=True)
    assert found.class_names == ("cat", "dog") and found.summary.endswith("; no image in: owl")


BROKEN = {
    "empty": b"",
    "words": b"no picture",
    "half": encoded()[:60],
    "huge": claiming(encoded(), 40_000, 40_000),
}


@pytest.mark.parametrize("contents", BROKEN.values(), ids=BROKEN)
def test_a_class_without_a_readable_image_is_refused_by_name(folder, contents):
    (folder / "train" / "owl").mkdir()
    for name in ("a.png", "b.jpg"):
        (folder / "train" / "owl" / name).write_bytes(contents)
    with pytest.raises(DataError, match=r"holds no image of owl that can be read; .*--ignore_empty_classes"):
        list_image_files(str(folder), "train")
    found = list_image_files(str(folder), "train", ignore_empty_classes=True)
    assert found.class_names == ("cat", "dog") and len(found.paths) == 4
    assert found.summary.endswith("; no image in: owl")
    (folder / "train" / "owl" / "z.webp").write_bytes(encoded(kind="WEBP"))
    assert list_image_files(str(folder), "train").class_names == ("cat", "dog", "owl")


def test_accents_may_be_letters_of_their_own(tmp_path):
    """As in folders that come from a Mac; both spellings look alike."""
    write_images(tmp_path / "train" / "Ka\u0308fer", 2)
    write_images(tmp_path / "train" / "Spinne", 2, first=10)
    write_images(tmp_path / "test" / "K\u00e4fer", 2, first=20)
    write_images(tmp_path / "test" / "Spinne", 2, first=30)
    names = tmp_path / "labels.csv"
    names.write_text("path,label\ntrain/Spinne/010.png,Ka\u0308fer\n", encoding="utf-8")
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path))
    sources = [load_source(config, split) for split in ("train", "test")]
    sources.append(load_source(dataclasses.replace(config, labels_from=str(names)), "train"))
    for source in sources:
        assert source.class_names == ("K\u00e4fer", "Spinne")
    assert [int(record["label"]) for record in sources[0].records].count(0) == 2
    check_same_classes(*sources[:2])
    refuse_other_class_names("an older run", ("Ka\u0308fer", "Spinne"), "now", sources[0].class_names, "")


def test_a_flat_folder_may_hold_other_folders(tmp_path):
    write_images(tmp_path / "train", 3)
    (tmp_path / "train" / "notes").mkdir()
    assert list_image_files(str(tmp_path), "train").class_names == ()


def test_a_link_in_a_circle_ends(folder):
    os.symlink(folder / "train", folder / "train" / "dog" / "again")
    found = list_image_files(str(folder), "train")
    assert len(found.paths) == 4 and "1 link to what is listed already" in found.summary


def test_a_file_is_listed_once_and_where_it_is(folder):
    """A link does not take a picture away from its class, even if the link is met first."""
    os.symlink(folder / "train" / "dog" / "010.png", folder / "train" / "cat" / "000a.png")
    os.symlink(folder / "train" / "dog", folder / "train" / "cat" / "also")
    found = list_image_files(str(folder), "train")
    assert classes_of(found) == ["cat", "cat", "dog", "dog"]
    assert "2 links to what is listed already" in found.summary


def test_a_link_out_of_the_folder_is_followed(folder):
    write_images(folder / "elsewhere", 2, first=50)
    os.symlink(folder / "elsewhere", folder / "train" / "owl")
    found = list_image_files(str(folder), "train")
    assert found.class_names == ("cat", "dog", "owl") and len(found.paths) == 6


def test_a_broken_link_is_listed_like_a_broken_image(folder):
    os.symlink(folder / "nowhere.png", folder / "train" / "cat" / "gone.png")
    assert len(list_image_files(str(folder), "train").paths) == 5


ODD_NAMES = ["with space.png", "#1.png", "[1].png", "a*b?.png", "~.png", "ü.png", "100%.PNG", "'quoted\".png"]


def test_odd_names_are_read(folder):
    for number, name in enumerate(ODD_NAMES):
        (folder / "train" / "cat" / name).write_bytes(encoded(seed=number))
    source = load_source(DataConfig(dataset="image_folder", data_dir=str(folder)), "train")
    contents = {record["path"].numpy().decode(): source.read(record).numpy() for record in source.records}
    assert {str(folder / "train" / "cat" / name) for name in ODD_NAMES} <= contents.keys()
    assert all(contents.values())


@pytest.mark.parametrize("name", ["lr=[0.1]", "x*", "x?", "back\\slash", "new\nline", "~", "a b#"])
def test_a_folder_of_any_name_is_read(tmp_path, name):
    folder = tmp_path / name
    write_images(folder / "train" / "cat", 2)
    (tmp_path / "xy" / "train" / "dog").mkdir(parents=True)
    source = load_source(DataConfig(dataset="image_folder", data_dir=str(folder)), "train")
    assert source.class_names == ("cat",)
    assert [source.read(record).numpy()[:4] for record in source.records] == [b"\x89PNG"] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"caf\xe9.png", r"holds the name b'caf\\xe9\.png', which is not UTF-8; rename it"),
        (b"a\nb.png", r"holds the name 'a\\nb\.png', which has a line break; rename it"),
        (b"owl\n/0.png", r"holds the name 'owl\\n', which has a line break; rename it"),
    ],
)
def test_names_that_are_no_text_are_refused_by_name(folder, name, message):
    path = pathlib.Path(os.fsdecode(os.fsencode(folder / "train" / "cat") + b"/" + name))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DataError, match=message):
        list_image_files(str(folder), "train")


def test_names_of_files_that_are_not_taken_do_not_matter(folder):
    pathlib.Path(os.fsdecode(os.fsencode(folder / "train") + b"/caf\xe9.txt")).touch()
    assert FolderWalk(str(folder / "train")).others[".txt"] == 4
    pathlib.Path(os.fsdecode(os.fsencode(folder / "train") + b"/Protokoll 3.M\xfcnchen")).touch()
    summary = list_image_files(str(folder), "train").summary
    assert summary.encode() and "1 .m\ufffdnchen" in summary


def test_a_link_to_itself_is_refused_by_name(folder):
    os.symlink("b", folder / "train" / "cat" / "a")
    os.symlink("a", folder / "train" / "cat" / "b")
    with pytest.raises(
        DataError, match=r"/train/cat/[ab]' cannot be read \(Too many levels of symbolic links\)"
    ):
        list_image_files(str(folder), "train")


def test_a_folder_that_may_not_be_read_is_refused_by_name(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/train/dog' cannot be read \(Permission denied\); "):
        list_image_files(str(folder), "train")


def test_what_is_no_file_is_not_waited_for(folder):
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    os.symlink("pipe.png", folder / "train" / "cat" / "link.png")
    found = list_image_files(str(folder), "train")
    assert len(found.paths) == 4 and "2 special" in found.summary


@pytest.mark.parametrize("split", ["all", "train+all[:1]"])
def test_the_name_that_tfds_keeps_for_itself_is_refused(folder, split):
    (folder / "train").rename(folder / "all")
    write_images(folder / "train" / "cat", 2)
    with pytest.raises(DataError, match="'all' stands for every split"):
        list_image_files(str(folder), split)
