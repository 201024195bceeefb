"""Labels in a CSV file, in place of class folders."""

import csv
import dataclasses
import re

import pytest

from tests.data.image_files import write_images
from tf_simclrv2.config import DataConfig, ExperimentConfig, RunConfig, TrainingConfig
from tf_simclrv2.data import label_subset, load_source
from tf_simclrv2.data.labels_file import read_labels
from tf_simclrv2.data.source import with_class_names
from tf_simclrv2.errors import DataError
from tf_simclrv2.training.plan import plan_run


@pytest.fixture
def unlabeled(tmp_path) -> DataConfig:
    write_images(tmp_path / "pictures" / "train", 6)
    return DataConfig(dataset="image_folder", data_dir=str(tmp_path / "pictures"))


def labeled_by(config: DataConfig, tmp_path, text: str) -> DataConfig:
    (tmp_path / "labels.csv").write_text(text)
    return dataclasses.replace(config, labels_from=str(tmp_path / "labels.csv"))


def classes_of(source) -> dict[str, str]:
    found = {}
    for record in source.records.as_numpy_iterator():
        name = re.split("/train/|/test/", record["path"].decode())[-1]
        found[name] = source.class_names[record["label"]] if record["label"] >= 0 else ""
    return found


def test_the_images_that_it_names_have_its_labels(unlabeled, tmp_path):
    config = labeled_by(unlabeled, tmp_path, "path,label\ntrain/004.png,owl\ntrain/001.png,fox\n")
    source = load_source(config, "train")
    assert source.class_names == ("fox", "owl")
    named = {"001.png": "fox", "004.png": "owl"}
    assert classes_of(source) == {f"00{i}.png": named.get(f"00{i}.png", "") for i in range(6)}
    assert "2 labels in 2 classes from" in source.summary
    some = label_subset(source, config)
    assert some.num_examples == 2 and classes_of(some) == named


def test_columns_in_any_order_and_empty_labels(unlabeled, tmp_path):
    text = "\ufefflabel,note,path\nfox,,train/001.png\n ,unclear,train/002.png\n"
    config = labeled_by(unlabeled, tmp_path, text)
    assert read_labels(config.labels_from) == {"train/001.png": "fox", "train/002.png": ""}
    assert label_subset(load_source(config, "train"), config).num_examples == 1


def test_absolute_paths_are_understood(unlabeled, tmp_path):
    path = tmp_path / "pictures" / "train" / "003.png"
    config = labeled_by(unlabeled, tmp_path, f"path,label\n{path},fox\n")
    assert classes_of(load_source(config, "train"))["003.png"] == "fox"


def test_class_folders_give_way_and_keep_their_order(tmp_path):
    for name in ("ant", "bee", "cat"):
        write_images(tmp_path / "pictures" / "train" / name, 2)
    config = DataConfig(dataset="image_folder", data_dir=str(tmp_path / "pictures"))
    config = labeled_by(config, tmp_path, "path,label\ntrain/cat/000.png,cat\ntrain/ant/001.png,ant\n")
    source = load_source(config, "train")
    assert source.class_names == ("ant", "bee", "cat")
    assert classes_of(label_subset(source, config)) == {"cat/000.png": "cat", "ant/001.png": "ant"}


def test_images_of_a_dataset_are_named_by_their_place(tmp_path):
    digits = DataConfig(dataset="digits", data_dir=str(tmp_path / "digits"))
    text = "path,label\ndigits/train #3,7\ndigits/train #900,0\n"
    source = load_source(labeled_by(digits, tmp_path, text), "train")
    labels = {row: int(record["label"]) for row, record in enumerate(source.records) if record["label"] >= 0}
    assert labels == {3: 7, 900: 0} and source.class_names == tuple("0123456789")


@pytest.mark.parametrize("name", ["digits/train #99999", "digits/train", "iris/train #1", "digits/other #1"])
def test_images_that_a_dataset_does_not_have(tmp_path, name):
    digits = DataConfig(dataset="digits", data_dir=str(tmp_path / "digits"))
    config = labeled_by(digits, tmp_path, f"path,label\ndigits/train #3,owl\n{name},owl\n")
    with pytest.raises(DataError, match=f"names '{name}', which digits does not have; names are like"):
        load_source(config, "train")


def test_a_split_that_it_does_not_name_keeps_its_own(unlabeled, tmp_path):
    for name in ("fox", "owl"):
        write_images(tmp_path / "pictures" / "test" / name, 2)
    config = labeled_by(unlabeled, tmp_path, "path,label\ntrain/001.png,fox\n")
    assert load_source(config, "test").class_names == ("fox", "owl")
    few = load_source(config, "train")
    assert few.class_names == ("fox",)
    more = with_class_names(few, ("ant", "fox", "owl"))
    assert classes_of(more) == classes_of(few) and more.class_names == ("ant", "fox", "owl")


@pytest.mark.parametrize("kind", ["list.txt", "labels.csv", "digits.csv"])
def test_a_training_of_which_it_names_no_image_is_refused(tmp_path, kind):
    """All labels would be learned where few were meant."""
    for split in ("train", "test"):
        for name in ("fox", "owl"):
            write_images(tmp_path / "pictures" / split / name, 2)
    named = {"list.txt": "nobody.png\n", "labels.csv": "path,label\ntest/fox/000.png,fox\n"}
    (tmp_path / kind).write_text(named.get(kind, "path,label\ndigits/test #1,1\n"))
    dataset = "digits" if kind == "digits.csv" else "image_folder"
    config = DataConfig(
        dataset=dataset, data_dir=str(tmp_path / "pictures"), labels_from=str(tmp_path / kind)
    )
    assert load_source(config, "train").num_classes in (2, 10)
    with pytest.raises(
        DataError, match=f"labels_from is .*{kind}', which names none of the images of .*train"
    ):
        load_source(config, "train", "--train_mode=finetune")


def test_empty_rows_of_a_spreadsheet_are_passed_over(unlabeled, tmp_path):
    config = labeled_by(unlabeled, tmp_path, "path,label\ntrain/001.png,fox\n,\n,\n")
    assert load_source(config, "train").class_names == ("fox",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns of no header, but needs path and label"),
        ("file,class\na,b\n", "has the columns file, class, but needs path and label"),
        ("path,label\n", "names no images"),
        ("path,label\ntrain/001.png,\n", "has no label in its column label"),
        ("path,label\ntrain/001.png,fox\ntrain/001.png,owl\n", "names 'train/001.png' more than once"),
        ("path,label\ntrain/001.png,fox\n./train/001.png,owl\n", "names 'train/001.png' more than once"),
        ('path,label\ntrain/001.png,"red\nfox"\n', r"label 'red\\nfox', which has a line break; write it in"),
        ("path,label\ntrain/nobody.png,fox\n", "names 'train/nobody.png', which is not in"),
        (
            "path;label\ntrain/001.png;fox\ntrain/002.png,owl\n",
            "Line 3 of .* is 'train/002.png,owl', which has no field for the label; separate its .* with ';'",
        ),
        ("path,label\ntrain/001.png;fox\n", "Line 2 of .*; separate its fields with ','"),
        (
            "path,label\ntrain/001.png,fox,owl\n",
            "Line 2 of .* has more fields than the first line",
        ),
        (
            'path,label,note\ntrain/001.png,fox,"unsure\ntrain/002.png,owl,\n',
            "cannot be read as CSV .line 2: unexpected end of data",
        ),
        (
            'path,label\na.png,fox\ntrain/001.png,"fox" \n',
            "cannot be read as CSV .line 3: ',' expected after",
        ),
    ],
)
def test_wrong_files_are_one_sentence(unlabeled, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_source(labeled_by(unlabeled, tmp_path, text), "train")


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_table_from_any_spreadsheet(tmp_path, between):
    rows = [("path", "label", "prediction"), ("a;b,c.png", "fox", ""), ("d.png", "", "owl")]
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=between).writerows(rows)
    assert read_labels(str(tmp_path / "labels.csv")) == {"a;b,c.png": "fox", "d.png": ""}


def test_empty_and_missing_fields_at_the_end_of_a_line(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,note\na.png,fox,,\nb.png,owl\nc.png\nIMG; 1.png\n")
    found = read_labels(str(tmp_path / "labels.csv"))
    assert found == {"a.png": "fox", "b.png": "owl", "c.png": "", "IMG; 1.png": ""}


@pytest.mark.parametrize("typed", ["train/link.png", "{real}/train/001.png"])
def test_an_image_by_another_name_that_leads_to_it(unlabeled, tmp_path, typed):
    """Its label was lost, and the class remained."""
    (tmp_path / "pictures" / "train" / "link.png").symlink_to("001.png")
    (tmp_path / "elsewhere").symlink_to("pictures")
    typed = typed.format(real=tmp_path / "pictures")
    config = labeled_by(unlabeled, tmp_path, f"path,label\n{typed},fox\ntrain/002.png,owl\n")
    config = dataclasses.replace(config, data_dir=str(tmp_path / "elsewhere"))
    source = load_source(config, "train")
    labels = {str(record["path"].numpy())[-9:-1]: int(record["label"]) for record in source.records}
    assert {name: label for name, label in labels.items() if label >= 0} == {"/001.png": 0, "/002.png": 1}
    same = labeled_by(config, tmp_path, f"path,label\n{typed},fox\ntrain/001.png,fox\n")
    assert load_source(same, "train").class_names == ("fox",)
    twice = labeled_by(config, tmp_path, f"path,label\n{typed},fox\ntrain/001.png,owl\n")
    with pytest.raises(DataError, match=r"names 'train/001\.png' more than once"):
        load_source(twice, "train")


def test_a_label_that_is_no_class_of_the_test_images_is_refused(unlabeled, tmp_path):
    for name in ("fox", "owl"):
        write_images(tmp_path / "pictures" / "test" / name, 2)
    config = labeled_by(unlabeled, tmp_path, "path,label\ntrain/001.png,fxo\ntrain/002.png,owl\n")
    config = ExperimentConfig(
        data=dataclasses.replace(config, train_split="train", eval_split="test"),
        training=TrainingConfig(train_mode="finetune", train_batch_size=2),
        run=RunConfig(mode="train_then_eval"),
    )
    with pytest.raises(
        DataError, match=r"'fxo' in the former .*'fox'.*; correct the labels in '.*labels\.csv'"
    ):
        plan_run(config, replicas=1)


def test_a_file_that_is_not_there(unlabeled):
    with pytest.raises(DataError, match=r"'/nowhere\.csv' cannot be read as CSV"):
        load_source(dataclasses.replace(unlabeled, labels_from="/nowhere.csv"), "train")
