"""Files are replaced whole or not at all, and read back with a reason where that fails."""

import pathlib
import re

import pytest
import tensorflow as tf

from tf_simclrv2.files import copy_atomically, read_json, write_atomically, write_json

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "tf_simclrv2"


class Killed(BaseException):
    """As a signal would end the program."""


def kill(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("content", ["Füße\n", b"\x00\xff"], ids=["text", "bytes"])
def test_a_file_is_written_and_replaced(tmp_path, content):
    path = tmp_path / "file"
    for old in (None, "old"):
        if old is not None:
            path.write_text(old)
        write_atomically(str(path), content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "moment", [(tf.io.gfile.GFile, "write"), (tf.io.gfile, "rename")], ids=["write", "rename"]
)
def test_interrupted_in_the_middle_the_old_file_stays(tmp_path, monkeypatch, moment):
    path = tmp_path / "file"
    path.write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(*moment, kill)
        with pytest.raises(Killed):
            write_atomically(str(path), "new")
    assert path.read_text() == "old"
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("moment", ["copy", "rename"])
def test_a_copy_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch, moment):
    source, path = tmp_path / "source", tmp_path / "file"
    source.write_bytes(b"new")
    path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(tf.io.gfile, moment, kill)
        with pytest.raises(Killed):
            copy_atomically(str(source), str(path))
    assert path.read_bytes() == b"old"
    copy_atomically(str(source), str(path))
    assert path.read_bytes() == b"new"
    assert sorted(other.name for other in tmp_path.iterdir()) == ["file", "source"]


def test_what_a_killed_program_left_is_written_over(tmp_path):
    path = tmp_path / "file"
    (tmp_path / "file.part").write_text("longer than the new content")
    write_atomically(str(path), "new")
    assert path.read_text() == "new" and not (tmp_path / "file.part").exists()


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(tf.errors.OpError):
        write_atomically(str(tmp_path / "absent" / "file"), "text")


def test_other_filesystems_of_tensorflow():
    path = "ram://test_files/file"
    tf.io.gfile.makedirs("ram://test_files")
    for content in ("old", "new"):
        write_atomically(path, content)
        with tf.io.gfile.GFile(path) as file:
            assert file.read() == content
    assert tf.io.gfile.listdir("ram://test_files") == ["file"]


def test_json_comes_back(tmp_path):
    path = str(tmp_path / "values.json")
    write_json(path, {"number": 1, "none": None, "path": pathlib.Path("/a")})
    assert read_json(path) == {"number": 1, "none": None, "path": "/a"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff{}"], ids=repr)
def test_what_is_not_a_json_object(tmp_path, content):
    path = tmp_path / "values.json"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        read_json(str(path))


def test_no_other_module_replaces_files_by_itself():
    """Whole directories are moved in two places; files, by `replacing` and what uses it."""
    moves = re.compile(r"gfile\.rename\(|os\.replace\(|os\.rename\(")
    found = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if moves.search(path.read_text())
    }
    assert found == {
        "files.py",
        "export/staging.py",
        "training/model_dir/model_dir.py",
        "training/model_dir/verified_checkpoints.py",
    }
