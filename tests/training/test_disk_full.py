"""A disk that fills up while a checkpoint is saved: one sentence, and the checkpoints from before."""

import pathlib
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.programs import SMALL_PROGRAM, finished
from tests.training.small_runs import weights_of
from tf_simclrv2.training.model_dir.verified_checkpoints import why_damaged

# On a slow machine TensorFlow warns of what takes long: `W0000 00:00:1795812892.543182   19807 file.cc:478]`.
OF_TENSORFLOW = re.compile(r"[IWE]\d{4} [\d:.]+ +\d+ \S+:\d+\]")
OPTIONS = [
    "--dataset=digits",
    "--train_split=train[:32]",
    "--image_size=8",
    "--resnet_depth=18",
    "--train_batch_size=16",
    "--mode=train",
    "--train_steps=8",
    "--checkpoint_steps=2",
    "--steps_per_loop=2",
    "--strategy=one_device",
    "--report_images=0",
]


def train(model_dir: pathlib.Path, prefix: tuple[str, ...] = (), **options) -> subprocess.CompletedProcess:
    command = [
        *prefix,
        sys.executable,
        *SMALL_PROGRAM,
        "run",
        f"--model_dir={model_dir}",
        *OPTIONS,
    ]
    return finished(command, patience=600, **options)


@pytest.fixture(scope="module")
def one_checkpoint(tmp_path_factory):
    """A model_dir that was stopped after step 2, the size of its checkpoint, and its values."""
    directory = tmp_path_factory.mktemp("begun")
    done = train(directory)
    assert done.returncode == 0, done.stderr
    for path in directory.glob("ckpt-*"):
        if not path.name.startswith("ckpt-2."):
            path.unlink()
    size = (directory / "ckpt-2.data-00000-of-00001").stat().st_size
    return directory, size, weights_of(directory, 2)


def check(done: subprocess.CompletedProcess, directory: pathlib.Path, expected: dict) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not OF_TENSORFLOW.match(line)]
    assert len(lines) == 1, done.stderr
    (line,) = lines
    assert line.startswith(f"error: checkpoint {directory}/ckpt-4 could not be saved (")
    assert "{{" not in line and "[Op:" not in line
    assert f"; the last one is {directory}/ckpt-2; free some disk space" in line
    names = {path.name for path in directory.glob("*ckpt-*")} | {p.name for p in directory.glob("*tmp*")}
    assert names == {"ckpt-2.index", "ckpt-2.data-00000-of-00001"}
    assert why_damaged(str(directory / "ckpt-2")) is None
    found = weights_of(directory, 2)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_no_file_may_become_so_large(one_checkpoint, tmp_path):
    """The limit of a process on a file's size, which needs no rights: the write fails halfway."""
    begun, size, expected = one_checkpoint
    directory = tmp_path / "run"
    shutil.copytree(begun, directory)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    check(train(directory, preexec_fn=limit), directory, expected)
    done = train(directory)
    assert done.returncode == 0, done.stderr
    assert "resuming from step 2 of 8" in done.stdout
    assert why_damaged(str(directory / "ckpt-8")) is None
