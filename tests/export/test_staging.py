"""An output is whole or not there, and what is unsafe is not unpacked."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2 import ExportError
from tf_simclrv2.export.staging import stage
from tf_simclrv2.modules.module_archive import pack_module, unpack_module

ROOT = pathlib.Path(__file__).parents[2]


def names(directory: pathlib.Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_output_appears_at_the_end(tmp_path):
    output = tmp_path / "deep" / "out"
    with stage(str(output)) as part:
        pathlib.Path(part).mkdir()
        (pathlib.Path(part) / "file").write_text("whole")
        assert not output.exists()
    assert (output / "file").read_text() == "whole" and names(output.parent) == ["out"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), stage(str(tmp_path / "out")) as part:
        pathlib.Path(part).write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_what_exists_is_replaced_only_on_demand(tmp_path):
    output = tmp_path / "out"
    output.write_text("old")
    with pytest.raises(ExportError, match="exists; choose another, or pass --overwrite"), stage(str(output)):
        raise AssertionError
    with pytest.raises(RuntimeError), stage(str(output), overwrite=True) as part:
        pathlib.Path(part).write_text("half")
        raise RuntimeError
    assert output.read_text() == "old"
    with stage(str(output), overwrite=True) as part:
        pathlib.Path(part).write_text("new")
    assert output.read_text() == "new" and names(tmp_path) == ["out"]


@pytest.mark.parametrize("foreign", ["flags.json", "ckpt-40.index", "holiday.jpg", ".lock", "digits.onnx"])
def test_a_directory_of_other_things_is_never_replaced(tmp_path, foreign):
    """`--output=.` or `--output=runs/mine` would remove what it took days to train."""
    output = tmp_path / "out"
    output.mkdir()
    for name in ("config.json", "checkpoint", foreign):
        (output / name).write_text("mine")
    with pytest.raises(ExportError) as refused, stage(str(output), overwrite=True):
        raise AssertionError
    assert str(refused.value) == (
        f"output is {str(output)!r}, which holds {foreign!r} and so is not an export, but --overwrite "
        "replaces only exports; choose another."
    )
    assert names(output) == sorted(["config.json", "checkpoint", foreign])


def test_a_directory_of_common_names_is_not_taken_for_an_export(tmp_path):
    output = tmp_path / "out"
    (output / "assets").mkdir(parents=True)
    (output / "README.md").write_text("mine")
    with pytest.raises(ExportError, match=r"holds 'README\.md' and so"), stage(str(output), overwrite=True):
        raise AssertionError
    assert names(output) == ["README.md", "assets"]


@pytest.mark.parametrize(
    "held",
    [
        (),
        ("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb", "simclr.json"),
        ("model.tflite", "simclr.json", "labels.txt", "README.md"),
        ("model.onnx", "simclr.json"),
        ("checkpoint", "ckpt-0.index", "ckpt-0.data-00000-of-00001", "config.json"),
    ],
)
def test_an_earlier_output_is_replaced(tmp_path, held):
    output = tmp_path / "out"
    output.mkdir()
    for name in held:
        (output / name).write_text("old")
    with stage(str(output), overwrite=True) as part:
        pathlib.Path(part).write_text("new")
    assert output.read_text() == "new" and names(tmp_path) == ["out"]


def test_the_old_output_returns_if_the_new_one_cannot_take_its_place(tmp_path):
    output = tmp_path / "out"
    output.write_text("old")
    with pytest.raises(FileNotFoundError), stage(str(output), overwrite=True):
        pass  # Nothing was written, so there is nothing to move.
    assert output.read_text() == "old" and names(tmp_path) == ["out"]


def test_the_old_output_returns_after_a_kill_between_the_two_moves(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (tmp_path / f".out.old-{gone.pid}").write_text("old")
    with pytest.raises(ExportError, match="exists"), stage(str(tmp_path / "out")):
        raise AssertionError
    assert (tmp_path / "out").read_text() == "old" and names(tmp_path) == ["out"]


def test_what_a_killed_program_left_is_removed(tmp_path):
    script = (
        "import sys, time, pathlib\nfrom tf_simclrv2.export.staging import stage\n"
        "with stage(sys.argv[1]) as part:\n"
        "    pathlib.Path(part).write_text('half')\n    print(flush=True)\n    time.sleep(60)\n"
    )
    output = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(output)], cwd=ROOT, stdout=subprocess.PIPE
    ) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        os.kill(killed.pid, signal.SIGKILL)
    assert not output.exists() and len(names(tmp_path)) == 1
    (tmp_path / ".out.part-notes").write_text("somebody else's")
    with stage(str(output)) as part:
        pathlib.Path(part).write_text("whole")
    assert names(tmp_path) == [".out.part-notes", "out"]


def test_names_that_only_end_like_leftovers_are_left_alone(tmp_path):
    """Versions and dates have more digits than a process."""
    beside = ["20241129143000", "a-20241129143000", "x-²", ".other.part-1", ".out.part-20241129143000"]
    for name in [*beside, ".out.part-999999999"]:
        (tmp_path / name).mkdir()
    with stage(str(tmp_path / "out")) as part:
        pathlib.Path(part).write_text("whole")
    assert names(tmp_path) == sorted([*beside, "out"])


def test_the_first_program_of_a_container_is_not_its_own_predecessor(tmp_path):
    """Each has the process number 1, also the one that was killed here before."""
    (tmp_path / f".out.part-{os.getpid()}").mkdir()
    (tmp_path / f".out.part-{os.getpid()}" / "half").touch()
    (tmp_path / f".out.old-{os.getpid()}").write_text("old")
    with stage(str(tmp_path / "out"), overwrite=True) as part:
        assert not os.path.lexists(part) and (tmp_path / "out").read_text() == "old"
        pathlib.Path(part).write_text("whole")
    assert (tmp_path / "out").read_text() == "whole" and names(tmp_path) == ["out"]


def test_what_appears_meanwhile_is_not_replaced(tmp_path):
    output = tmp_path / "out"
    with pytest.raises(ExportError, match="which exists"), stage(str(output)) as part:
        pathlib.Path(part).write_text("mine")
        output.write_text("somebody else's")
    assert output.read_text() == "somebody else's" and names(tmp_path) == ["out"]


def test_another_filesystem_is_refused(tmp_path, monkeypatch):
    """Its name would be a folder `gs:` of this one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=r"'gs://bucket/out', but .* copy it"), stage("gs://bucket/out"):
        raise AssertionError
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["file/out", "/proc/out"])
def test_a_place_that_cannot_be_written(tmp_path, place):
    """Under a file; and in a folder that is there, in which nobody may make anything."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"), stage(str(tmp_path / place)):
        raise AssertionError


# ------------------------------------------------------------------------------ archives


def archive_of(path: pathlib.Path, *members: tuple[str, str]) -> str:
    """A .tar.gz of (name, link target or empty for a file)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, target in members:
            info = tarfile.TarInfo(name)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
            content = b"" if target else b"text"
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def test_archive_round_trip(tmp_path):
    source = tmp_path / "source"
    (source / "variables").mkdir(parents=True)
    (source / "saved_model.pb").write_bytes(b"graph")
    (source / "variables" / "variables.index").write_bytes(b"index")
    pack_module(str(source), str(tmp_path / "module.tar.gz"))
    unpack_module(str(tmp_path / "module.tar.gz"), str(tmp_path / "target"))
    assert names(tmp_path / "target") == ["saved_model.pb", "variables"]
    assert (tmp_path / "target" / "variables" / "variables.index").read_bytes() == b"index"


@pytest.mark.parametrize(
    "member",
    [("../evil", ""), ("a/../../evil", ""), ("/tmp/evil-of-a-test", ""), ("link", "/etc"), ("link", "../..")],
)
def test_paths_that_leave_the_folder(tmp_path, member):
    archive = archive_of(tmp_path / "evil.tar.gz", ("good", ""), member)
    target = tmp_path / "inner" / "target"
    target.mkdir(parents=True)
    if member[0].startswith("/"):  # Becomes a path below the folder, which is as safe.
        unpack_module(archive, str(target))
        assert not pathlib.Path(member[0]).exists()
        return
    with pytest.raises(ExportError, match="is not safe to unpack"):
        unpack_module(archive, str(target))
    assert names(target) == [] and names(tmp_path / "inner") == ["target"]


def test_what_is_no_archive(tmp_path):
    (tmp_path / "text.tar.gz").write_text("no archive")
    whole = pathlib.Path(archive_of(tmp_path / "whole.tar.gz", ("a", ""), ("b", "")))
    (tmp_path / "half.tar.gz").write_bytes(whole.read_bytes()[:60])
    for name in ("text.tar.gz", "half.tar.gz", "missing.tar.gz"):
        with pytest.raises(ExportError, match="cannot be read"):
            unpack_module(str(tmp_path / name), str(tmp_path / "target"))


def test_an_archive_on_another_filesystem(tmp_path):
    archive = archive_of(tmp_path / "whole.tar.gz", ("a", ""), ("b", ""))
    tf.io.gfile.copy(archive, "ram://whole.tar.gz", overwrite=True)
    unpack_module("ram://whole.tar.gz", str(tmp_path / "target"))
    assert names(tmp_path / "target") == ["a", "b"]
    with pytest.raises(ExportError, match="cannot be read"):
        unpack_module("ram://missing.tar.gz", str(tmp_path / "other"))


def test_an_archive_with_damage_in_the_middle(tmp_path):
    """Nearly all of an archive is weights, which hardly shrink."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "weights").write_bytes(np.random.default_rng(0).bytes(10**6))
    archive = tmp_path / "module.tar.gz"
    pack_module(str(tmp_path / "module"), str(archive))
    whole = bytearray(archive.read_bytes())
    for start in range(10**5, 9 * 10**5, 10**5):
        damaged = whole.copy()
        damaged[start : start + 64] = bytes(64)
        archive.write_bytes(damaged)
        with pytest.raises(ExportError, match="cannot be read"):
            unpack_module(str(archive), str(tmp_path / "target"))
