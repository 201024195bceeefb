import collections
import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from tests.data.image_files import encoded, write_images
from tests.programs import start
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import Source, check_same_classes, load_source, require_labels
from tf_simclrv2.errors import DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> DataConfig:
    return DataConfig(dataset="digits", data_dir=str(tmp_path_factory.mktemp("digits")))


def folder(path) -> DataConfig:
    return DataConfig(dataset="image_folder", data_dir=str(path))


def labels(source: Source) -> list[int]:
    return [int(record["label"]) for record in source.records]


def pixels(source: Source) -> list[np.ndarray]:
    return [tf.io.decode_image(source.read(record)).numpy() for record in source.records]


def test_digits_are_scikit_learns_in_a_stratified_split(digits):
    train, test = load_source(digits, "train"), load_source(digits, "test")
    assert (train.num_examples, test.num_examples) == (1437, 360)
    assert train.class_names == tuple("0123456789") and train.num_classes == 10 and train.has_labels
    everything = load_digits()
    overall = np.bincount(everything.target) / len(everything.target)
    for source in (train, test):
        share = np.bincount(labels(source)) / source.num_examples
        np.testing.assert_allclose(share, overall, atol=2 / source.num_examples)
    expected = collections.Counter(
        (int(label), np.floor(image * 255 / 16 + 0.5).astype(np.uint8).tobytes())
        for image, label in zip(everything.images, everything.target, strict=True)
    )
    found = collections.Counter()
    for source in (train, test):
        found.update(zip(labels(source), (p.tobytes() for p in pixels(source)), strict=True))
    assert found == expected


def test_digits_are_prepared_once_and_quietly(digits, capfd):
    load_source(digits, "train")
    capfd.readouterr()
    fresh = DataConfig(dataset="digits", data_dir=digits.data_dir + "/fresh")
    load_source(fresh, "train")
    captured = capfd.readouterr()
    assert "Downloading" not in captured.out + captured.err and "%" not in captured.out + captured.err
    files = [path for path in pathlib.Path(str(fresh.data_dir)).rglob("*") if path.is_file()]
    written = {path: path.stat().st_mtime_ns for path in files}
    again = load_source(fresh, "train")
    assert files and written == {path: path.stat().st_mtime_ns for path in files}
    assert labels(again) == labels(load_source(digits, "train"))


@pytest.mark.parametrize("name", ["x*", "x[1]"])
def test_a_data_dir_is_no_pattern(tmp_path, name):
    """TFDS takes `x*` for prepared where `x1` is."""
    beside, own = (DataConfig(dataset="digits", data_dir=str(tmp_path / part)) for part in ("x1", name))
    expected = labels(load_source(beside, "train"))
    for _ in range(2):
        assert labels(load_source(own, "train")) == expected
    assert (tmp_path / name / "digits").is_dir()


def test_split_expressions(digits):
    train = labels(load_source(digits, "train"))
    assert labels(load_source(digits, "train[:10%]")) == train[:144]
    both = load_source(digits, "train[100:110]+test[:5]")
    assert both.num_examples == 15 and labels(both)[:10] == train[100:110]


@pytest.mark.parametrize("split", ["validation", "train[:x]", "train[:9999]"])
def test_an_unknown_split_lists_those_that_exist(digits, split):
    with pytest.raises(DataError, match=r"train \(1437 images\), test \(360 images\)"):
        load_source(digits, split)


def test_class_folders(tmp_path):
    for name, count in (("zebra", 3), ("ant", 2)):
        write_images(tmp_path / "train" / name, count)
    write_images(tmp_path / "validation" / "ant" / "deeper", 1)
    write_images(tmp_path / "train" / ".hidden", 1)
    (tmp_path / "train" / "notes.txt").write_text("no image")
    train = load_source(folder(tmp_path), "train")
    assert train.class_names == ("ant", "zebra") and train.num_examples == 5
    for record in train.records:
        assert train.class_names[int(record["label"])] in record["path"].numpy().decode()
    nested = load_source(folder(tmp_path), "validation")
    assert nested.class_names == ("ant",) and labels(nested) == [0]


def test_a_flat_folder_is_unlabeled(tmp_path):
    write_images(tmp_path, 4)
    (tmp_path / "UPPER.JPG").write_bytes(encoded(kind="JPEG"))
    source = load_source(folder(tmp_path), "train")
    assert source.num_examples == 5 and not source.has_labels and labels(source) == [-1] * 5


def test_data_dir_itself_is_train(tmp_path):
    write_images(tmp_path / "cat", 1)
    write_images(tmp_path / "dog", 1)
    assert load_source(folder(tmp_path), "train").class_names == ("cat", "dog")
    with pytest.raises(DataError, match=r"'test' needs the folder .*test.*cat, dog"):
        load_source(folder(tmp_path), "test")


def test_folder_slices_partition_the_images_and_mix_the_classes(tmp_path):
    for name in ("a", "b"):
        write_images(tmp_path / name, 40)
    whole = [r["path"] for r in load_source(folder(tmp_path), "train").records]
    parts = [load_source(folder(tmp_path), split) for split in ("train[:25%]", "train[25%:]")]
    assert [part.num_examples for part in parts] == [20, 60]
    assert [r["path"] for part in parts for r in part.records] == whole
    assert set(labels(parts[0])) == {0, 1}


def test_folders_can_be_added(tmp_path):
    write_images(tmp_path / "train" / "b", 3)
    write_images(tmp_path / "more" / "a", 2)
    write_images(tmp_path / "loose", 2)
    source = load_source(folder(tmp_path), "train[:2]+more")
    assert source.class_names == ("a", "b") and labels(source) == [1, 1, 0, 0]
    unlabeled = load_source(folder(tmp_path), "train+loose")
    assert not unlabeled.has_labels and labels(unlabeled) == [-1] * 5


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train[:x]", "not a split expression"),
        ("train[:9]", "train has 2 images; choose a slice within"),
        ("train[:0]", "empty"),
        ("empty", "holds no images"),
        ("mixed", "mixes 1 loose images"),
        ("missing", "does not exist"),
    ],
)
def test_wrong_folders_and_splits(tmp_path, split, message):
    write_images(tmp_path / "train", 2)
    (tmp_path / "empty").mkdir()
    write_images(tmp_path / "mixed", 1)
    write_images(tmp_path / "mixed" / "class", 1)
    with pytest.raises(DataError, match=message):
        load_source(folder(tmp_path), split)


def test_splits_must_agree_on_their_classes(tmp_path):
    for name in ("train/a", "train/b", "same/a", "same/b", "fewer/b", "flat"):
        write_images(tmp_path / name, 1)
    train, same, fewer, flat = (
        load_source(folder(tmp_path), split) for split in ("train", "same", "fewer", "flat")
    )
    check_same_classes(train, same)
    check_same_classes(train, flat)
    message = r"has 2 classes and .*fewer has 1, and label 0 is 'a' in the former and 'b' in the latter;"
    with pytest.raises(DataError, match=message):
        check_same_classes(train, fewer)
    with pytest.raises(
        DataError, match=r"label 0 is 'a' .* 'b' .*\(the same names, in another order\); give"
    ):
        check_same_classes(train, dataclasses.replace(same, class_names=("b", "a")))


def test_a_missing_data_dir(tmp_path):
    with pytest.raises(DataError, match="nowhere' does not exist"):
        load_source(folder(tmp_path / "nowhere"), "train")


@pytest.mark.parametrize(
    ("name", "classes"), [("cifar10", 10), ("imagenet2012_subset/1pct", 1000), ("stl10:1.0.0", 10)]
)
def test_tfds_datasets(tmp_path, name, classes):
    with tfds.testing.mock_data(num_examples=7):
        source = load_source(DataConfig(dataset=name, data_dir=str(tmp_path)), "train")
    assert source.num_examples == 7 and source.num_classes == classes
    assert all(image.shape[-1] == 3 for image in pixels(source))
    assert len({record["path"].numpy() for record in source.records}) == 7


def test_few_images_of_a_tfds_dataset_are_its_first():
    with tfds.testing.mock_data(num_examples=9):
        source = load_source(DataConfig(dataset="cifar10"), "train")
    few = source.sample(4)
    paths = [record["path"].numpy() for record in source.records]
    assert not source.light and few.num_examples == 4
    assert [record["path"].numpy() for record in few.records] == paths[:4]
    assert source.sample(100).num_examples == 9


@pytest.mark.parametrize(("most", "count"), [(1, 1), (23, 23), (24, 24), (99, 24)])
def test_a_sample_is_as_large_as_asked_and_spread_over_all_splits(tmp_path, most, count):
    for split in ("train", "extra"):
        write_images(tmp_path / split / "a", 6)
        write_images(tmp_path / split / "b", 6, first=6)
    source = load_source(folder(tmp_path), "train+extra")
    paths = [record["path"].numpy() for record in source.records]
    sample = source.sample(most)
    drawn = [record["path"].numpy() for record in sample.records]
    assert sample.num_examples == len(drawn) == count and set(drawn) <= set(paths)
    of_train = sum(b"/train/" in path for path in drawn)
    assert most == 1 or abs(2 * of_train - count) <= 1


def test_tfds_without_labels(tmp_path):
    with tfds.testing.mock_data(num_examples=2):
        source = load_source(DataConfig(dataset="div2k", data_dir=str(tmp_path)), "train")
    assert not source.has_labels and labels(source) == [-1, -1]


F = tfds.features
NO_CLASSES = {
    "number": ({"label": F.Scalar(np.float32)}, r"'label' is Scalar\(shape=\(\), dtype=float32\)"),
    "unnamed": (
        {"label": F.Scalar(np.int64), "kind": F.ClassLabel(num_classes=2)},
        r"'label' is Scalar\(shape=\(\), dtype=int64\); --label_key=kind would work",
    ),
    "several": (
        {"labels": F.Sequence(F.ClassLabel(num_classes=2)), "id": F.Text()},
        r"'labels' is Sequence\(ClassLabel\(shape=\(\), dtype=int64, num_classes=2\)\)",
    ),
    "text": ({"caption": F.Text()}, r"'caption' is Text\(shape=\(\), dtype=string\)"),
}


@pytest.mark.parametrize("kind", NO_CLASSES)
def test_labels_that_are_not_classes(tmp_path, kind):
    features, message = NO_CLASSES[kind]
    values = {"label": 1, "kind": 1, "labels": [0, 1], "id": "x", "caption": "a cat"}
    example = {"image": np.zeros([9, 9, 3], np.uint8), **{name: values[name] for name in features}}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="some",
        version="1.0.0",
        data_dir=str(tmp_path),
        features=F.FeaturesDict({"image": F.Image(shape=(None, None, 3)), **features}),
        split_datasets={"train": [(0, example)]},
    )
    source = load_source(DataConfig(dataset="some", data_dir=str(tmp_path)), "train")
    assert not source.has_labels and labels(source) == [-1]
    refusal = rf"no labels of a class \(its feature {message}\), but fine-tuning needs them; store the label"
    with pytest.raises(DataError, match=refusal):
        require_labels(source, "fine-tuning")


def test_a_class_label_without_names(tmp_path, monkeypatch):
    """TFDS lets a dataset declare it, and then cannot even print it."""
    monkeypatch.setattr(F.ClassLabel, "names", property(lambda self: None))
    with tfds.testing.mock_data(num_examples=2):
        source = load_source(DataConfig(dataset="cifar10", data_dir=str(tmp_path)), "train")
    assert not source.has_labels
    assert source.no_class_label == "its feature 'label' is a ClassLabel without names"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "did you mean .*cifar10"),
        ("digit", "did you mean digits"),
        ("qqqqqqqq", "image_folder or digits"),
        ("cifar10:9.9.9", "cannot be opened.*9.9.9"),
        ("imagenet2012_subset/3pct", "cannot be opened.*1pct"),
        ("ag_news_subset", "has no images"),
        ("imagenet2012", "could not be downloaded and prepared.*data_dir"),  # A manual download.
    ],
)
def test_tfds_datasets_that_cannot_be_had(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        load_source(DataConfig(dataset=name, data_dir=str(tmp_path)), "train")


def test_processes_that_start_at_once_prepare_a_dataset_once(tmp_path):
    """TFDS alone fails here: the half-written files of one process are removed by another."""
    program = (
        "from tf_simclrv2 import DataConfig; from tf_simclrv2.data import load_source; "
        f"config = DataConfig(dataset='digits', data_dir={str(tmp_path / 'data')!r}); "
        "print(load_source(config, 'train').num_examples, load_source(config, 'test').num_examples)"
    )
    logs = [tmp_path / f"{index}.log" for index in range(3)]
    processes = [start(["-c", program], log) for log in logs]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert [log.read_text().splitlines()[-1] for log in logs] == ["1437 360"] * 3


@pytest.mark.parametrize("split", ["train[:0]", "train[5:5]", "train[90%:10%]", "test+train[7:7]"])
def test_an_empty_slice_is_refused(digits, split):
    with pytest.raises(DataError, match=r"selects no images; choose a larger slice of train \(1437 images\)"):
        load_source(digits, split)


def test_a_relative_folder_is_read_from_anywhere(tmp_path, monkeypatch):
    """A data service runs the same graph in another process, which may be started in another folder."""
    write_images(tmp_path / "here" / "pictures" / "train", 3)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = load_source(DataConfig(dataset="image_folder", data_dir="pictures"), "train")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for record in source.records:
        assert source.read(record).numpy().startswith(b"\x89PNG")
        assert record["path"].numpy().startswith(b"pictures/train/"), "as it was typed"


def test_labels_of_files_that_are_not_images_are_said(tmp_path):
    """They exist, but the format is not read, or nobody looks there."""
    write_images(tmp_path / "train", 4)
    (tmp_path / "train" / "IMG_1.HEIC").write_bytes(b"a photograph")
    write_images(tmp_path / "train" / ".hidden", 1)
    rows = ["train/000.png,cat", "train/001.png,dog", "train/IMG_1.HEIC,cat", "train/.hidden/000.png,dog"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    data = DataConfig("image_folder", str(tmp_path), labels_from=str(tmp_path / "labels.csv"))
    summary = load_source(data, "train").summary
    assert "2 labels in 2 classes from" in summary
    assert summary.endswith("; 2 labels are of files that are not read, such as train/IMG_1.HEIC")
