"""`run.py` as a user types it, in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = [
    "--dataset=digits",
    "--train_split=train[:32]",
    "--eval_split=test[:20]",
    "--image_size=8",
    "--resnet_depth=18",
    "--train_batch_size=16",
    "--eval_batch_size=16",
    "--train_steps=2",
    "--report_images=0",
]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_two_replicas_from_the_command_line(tmp_path):
    done = run(
        "--mode=train_then_eval",
        f"--model_dir={tmp_path}",
        "--virtual_devices=2",
        "--train_summary_steps=0",
        *TINY,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("--train_summary_steps: mapped to")
    assert lines[-1].startswith("result: step 2, top-1 ")
    result = json.loads((tmp_path / "result.json").read_text())
    assert f"top-1 {result['eval/label_top_1_accuracy']:.4f}" in lines[-1]
    flags = json.loads((tmp_path / "flags.json").read_text())
    assert flags["virtual_devices"] == 2 and flags["temperature"] == 0.1
    noise = [
        line for line in done.stdout.splitlines() + done.stderr.splitlines() if "tensorflow" in line.lower()
    ]
    assert not noise


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ft_proj_selector=4"], "ft_proj_selector is 4, but the nonlinear projection head has 3 layer(s)"),
        (
            ["--fine_tune_after_block=2"],
            "fine_tune_after_block is 2, but pretraining trains the whole network",
        ),
        (["--dataset=image_folder"], "data_dir is not set"),
        ([], "model_dir is not set"),
    ],
)
def test_errors_are_one_sentence(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line


@pytest.mark.parametrize(("asked", "found"), [({}, True), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False)])
def test_tensorflow_computes_with_onednn_unless_told_otherwise(asked, found):
    program = (
        "import tf_simclrv2\nfrom tensorflow.python.util import _pywrap_util_port as port\n"
        "print(port.IsMklEnabled())"
    )
    unset = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**unset, **asked},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.split()[-1] == str(found)


@pytest.mark.parametrize(
    ("asked", "found"), [({}, "true"), ({"TF_FORCE_GPU_ALLOW_GROWTH": "false"}, "false")]
)
def test_the_memory_of_gpus_is_shared_unless_told_otherwise(asked, found):
    program = "import os, tf_simclrv2\nprint(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    unset = {name: value for name, value in os.environ.items() if name != "TF_FORCE_GPU_ALLOW_GROWTH"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env={**unset, **asked}, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == [found]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KERAS_BACKEND": "jax"}, "needs 'tensorflow'"),
        ({"TF_USE_LEGACY_KERAS": "1"}, "needs Keras 3; unset it"),
    ],
)
def test_other_backends_are_refused_at_import(environment, message):
    done = subprocess.run(
        [sys.executable, "-c", "import tf_simclrv2"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
