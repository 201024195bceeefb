"""The names of a run's classes, wherever it meets data or another network."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.data.image_files import write_images
from tests.small_network import small_network as small_network
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import CheckpointError, DataError
from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.export.exporter import export
from tf_simclrv2.weights.classes import Classes, class_names_of

CLASSES = ("blue", "green", "red")
TINY = {
    "train_batch_size": 4,
    "eval_batch_size": 4,
    "train_steps": 2,
    "train_mode": "supervised",
    "keep_hub_module_max": 1,
}


def write_classes(root: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path:
    """A folder with a training and a test split of these classes."""
    for split in ("train", "test"):
        for number, name in enumerate(names):
            write_images(root / split / name, 2, first=10 * number)
    return root


def on(data: pathlib.Path, model_dir: pathlib.Path, **changes):
    folder = {"dataset": "image_folder", "data_dir": str(data), "train_split": "train", "eval_split": "test"}
    return config_for(model_dir, **{**folder, **TINY, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on three classes: its data and its model_dir."""
    root = tmp_path_factory.mktemp("trained")
    data = write_classes(root / "data", CLASSES)
    execute(on(data, root / "run"))
    return data, root / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy of its model_dir."""
    return pathlib.Path(shutil.copytree(trained[1], tmp_path / "run"))


def files(directory: pathlib.Path) -> dict[pathlib.Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


@pytest.mark.parametrize("where", [".", "ckpt-2", "saved_model/2"])
def test_names_are_read_beside_any_kind_of_weights(trained, where):
    assert class_names_of(str(trained[1] / where)) == CLASSES


def test_names_that_are_not_there(tmp_path):
    assert class_names_of(str(tmp_path)) is None
    (tmp_path / "labels.txt").write_text("")
    assert class_names_of(str(tmp_path)) is None


def test_names_that_are_not_text(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(CheckpointError, match=r"labels\.txt cannot be read .*; it is damaged"):
        class_names_of(str(tmp_path))


def test_names_as_editors_write_them(tmp_path):
    (tmp_path / "labels.txt").write_bytes("a\u2028b\r\nc d\r\n".encode())
    assert class_names_of(str(tmp_path)) == ("a\u2028b", "c d")


OTHERS = {
    "renamed": (("aa_red", "blue", "green"), r"has 3, and label 0 is 'blue' in the former and 'aa_red' in"),
    "one more": (
        (*CLASSES, "zebra"),
        r"has 4, and label 3 is missing in the former and 'zebra' in",
    ),
    "one fewer": (CLASSES[:2], r"has 2, and label 2 is 'red' in the former and missing in the latter"),
}


@pytest.mark.parametrize("task", ["eval", "resume"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_classes_are_refused_and_nothing_is_changed(run, tmp_path, name, task):
    names, message = OTHERS[name]
    data = write_classes(tmp_path / "other", names)
    before = files(run)
    changes = {"mode": "eval"} if task == "eval" else {"train_steps": 3}
    with pytest.raises(DataError, match=rf"the run in model_dir '.*run' has 3 classes and .*{message}"):
        execute(on(data, run, **changes))
    assert files(run) == before


def test_names_in_another_order_are_refused(trained, run):
    (run / "labels.txt").write_text("green\nblue\nred\n")
    message = r"label 0 is 'green' in the former and 'blue' .* \(the same names, in another order\)"
    with pytest.raises(DataError, match=message):
        execute(on(trained[0], run, mode="eval"))


def test_an_evaluation_without_labels_keeps_the_classifier_and_its_names(run, tmp_path):
    write_images(tmp_path / "flat", 4)
    flat = {"train_split": "train", "eval_split": "train"}
    result, lines, _ = execute(on(tmp_path / "flat", run, mode="eval", **flat))
    assert "eval/label_top_1_accuracy" not in result and "accuracy is not evaluated" in lines
    assert class_names_of(str(run / "saved_model" / "2")) == CLASSES


def test_a_run_whose_names_are_not_known(trained, run, tmp_path):
    """Its number of classes is compared; no name is made up."""
    (run / "labels.txt").unlink()
    _, lines, _ = execute(on(trained[0], run, mode="eval"))
    assert "has no labels.txt: only the number of its classes, 3, can be compared, not their names" in lines
    assert class_names_of(str(run / "saved_model" / "2")) is None
    _, lines, _ = execute(on(trained[0], run, train_steps=3))
    assert "has no labels.txt" in lines and not (run / "labels.txt").exists()
    more = write_classes(tmp_path / "more", (*CLASSES, "zebra"))
    with pytest.raises(DataError, match=r"has 3 classes, but .*more/train has 4; use data with"):
        execute(on(more, run, mode="eval"))


def test_another_number_of_names_than_of_classes(trained, run):
    (run / "labels.txt").write_text("blue\ngreen\n")
    with pytest.raises(CheckpointError, match=r"has 3 classes, but its labels.txt has 2 name"):
        execute(on(trained[0], run, mode="eval"))


def test_a_teacher_of_other_classes_is_refused(trained, tmp_path):
    data = write_classes(tmp_path / "other", OTHERS["renamed"][0])
    config = on(data, tmp_path / "run", train_mode="distill", teacher=str(trained[1]))
    with pytest.raises(DataError, match=r"the teacher has 3 classes .* label 0 is 'blue' in the former"):
        execute(config)
    assert not (tmp_path / "run").exists()


def test_a_student_has_the_classes_of_its_teacher(trained, run, tmp_path):
    """Its own images have no labels."""
    write_images(tmp_path / "flat", 4)
    flat = {"train_split": "train", "eval_split": "train", "train_mode": "distill", "mode": "train"}
    config = on(tmp_path / "flat", tmp_path / "student", teacher=str(run), **flat)
    execute(config)
    assert class_names_of(str(tmp_path / "student")) == CLASSES
    (run / "labels.txt").write_text("green\nblue\nred\n")
    with pytest.raises(DataError, match=r"the teacher has 3 .*model_dir .*student' has 3, and label 0 is"):
        execute(config)


def test_a_student_of_a_teacher_without_names(trained, run, tmp_path):
    (run / "labels.txt").unlink()
    _, lines, student = execute(
        on(trained[0], tmp_path / "student", teacher=str(run), train_mode="distill", mode="train")
    )
    assert "the teacher has no labels.txt" in lines and student.plan.class_names == ()


def test_an_export_says_where_names_are_not_known(run, tmp_path, capsys):
    (run / "labels.txt").write_text("blue\n")
    with pytest.raises(CheckpointError, match=r"has 3 classes, but its labels.txt has 1 name"):
        export(ExportConfig(model_dir=str(run), output=str(tmp_path / "module")))
    assert not (tmp_path / "module").exists()
    (run / "labels.txt").unlink()
    export(ExportConfig(model_dir=str(run), output=str(tmp_path / "module")))
    assert "has no labels.txt: only the number of its classes, 3," in capsys.readouterr().out
    assert json.loads((tmp_path / "module" / "simclr.json").read_text())["class_names"] == []


def test_a_network_without_a_classifier_is_evaluated_on_any_classes(tmp_path):
    write_images(tmp_path / "flat", 4)
    flat = {"train_split": "train", "eval_split": "train", "train_mode": "pretrain", "mode": "train"}
    execute(on(tmp_path / "flat", tmp_path / "run", **flat))
    data = write_classes(tmp_path / "data", CLASSES)
    evaluation = {"train_mode": "pretrain", "mode": "eval", "protocols": ("knn",)}
    result, *_ = execute(on(data, tmp_path / "run", **evaluation))
    assert np.isfinite(result["knn_20/final_avg_pool/top_1_accuracy"])


def test_classes_that_are_compared():
    known = Classes("the run", "", 2, "use other data", ("a", "b"))
    known.refuse_other("the data", ("a", "b"))
    known.refuse_other("unlabeled data", ())
    with pytest.raises(DataError, match=r"the run has 2 classes and the data has 2, and label 1 is 'b' in"):
        known.refuse_other("the data", ("a", "c"))
    assert not known.doubt and not Classes("the run", "", 0, "", None).doubt
