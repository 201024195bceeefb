"""The commands print their own lines only; what TensorFlow logs stays off the terminal."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.programs import ROOT, SMALL_RUN

# Without a GPU, TensorFlow logs by itself, for its start, and through absl, for the compilation.
COMPILES = """
from tf_simclrv2.backend import quiet_tensorflow
quiet_tensorflow()
import tensorflow as tf
print(tf.function(lambda x: x + 1, jit_compile=True)(tf.ones([])).numpy())
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs Python in the checkout, without the settings that the tests make for their own process."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "TF_CONFIG")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run of two steps, from a file of flags, which must have printed nothing to standard error."""
    folder = tmp_path_factory.mktemp("quiet")
    flags = [*SMALL_RUN, f"--model_dir={folder / 'run'}", "--train_steps=2", "--eval_split=test[:20]"]
    (folder / "tiny.cfg").write_text("\n".join(flags))
    done = python("run.py", f"--flagfile={folder / 'tiny.cfg'}", "--report_images=20")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "run"


COMMANDS = {
    "export": ("-m", "export", "--model_dir={run}", "--output={run}/export"),
    "report": ("-m", "tf_simclrv2.report", "{run}"),
    "doctor": ("-m", "tf_simclrv2.doctor", "{run}", "--trial_steps=1"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_prints_nothing_of_tensorflow(model_dir: pathlib.Path, command: tuple[str, ...]) -> None:
    done = python(*(word.format(run=model_dir) for word in command))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_log_level_of_the_user_is_respected() -> None:
    quiet, loud = python("-c", COMPILES), python("-c", COMPILES, TF_CPP_MIN_LOG_LEVEL="0")
    assert quiet.stdout == loud.stdout == "2.0\n"
    assert quiet.stderr == ""
    for words in ("cpu_feature_guard", "Compiled cluster using XLA!"):
        assert words in loud.stderr


def test_an_error_of_tensorflow_is_seen() -> None:
    done = python("-c", f"{COMPILES}\ntf.ensure_shape(tf.ones([2]), [3])")
    assert done.returncode == 1
    assert "InvalidArgumentError" in done.stderr
