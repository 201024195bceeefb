"""The doctor as a user types it, in processes of its own."""

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from tests.programs import finished
from tf_simclrv2.doctor import __main__ as program
from tf_simclrv2.doctor.command import write_json

TINY = [
    "--dataset=digits",
    "--train_split=train[:64]",
    "--eval_split=test[:20]",
    "--image_size=8",
    "--resnet_depth=18",
    "--train_batch_size=16",
    "--train_steps=2",
    "--report_images=0",
]


def python(*arguments: str) -> subprocess.CompletedProcess:
    return finished([sys.executable, *arguments], patience=300)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """A run of two steps."""
    path = tmp_path_factory.mktemp("run")
    done = python("run.py", f"--model_dir={path}", *TINY)
    assert done.returncode == 0, done.stderr
    return path


def test_a_run_is_examined_and_left_as_it_is(run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    found_file = tmp_path / "found.json"
    done = python("-m", "tf_simclrv2.doctor", str(run), "--trial_steps=3", f"--json={found_file}")
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    found = json.loads(found_file.read_text())
    assert f"{found['trial']['examples_per_second']:,.1f} images/s" in done.stdout
    assert f"{found['memory_mb']:,.0f} MB estimated, {found['trial']['peak_mb']:,.0f} measured" in done.stdout
    assert found["steps"] == 2
    assert found["memory_mb"] == pytest.approx(found["trial"]["peak_mb"], rel=0.2)
    assert found["hours"] == pytest.approx(2 * found["trial"]["step_s"] / 3600)
    assert any(advice.startswith("blur: at 8 px") for advice in found["advice"])

    files = sum(path.stat().st_size for path in run.glob("ckpt-2.*"))
    assert found["checkpoint_mb"] * 2**20 == pytest.approx(files, rel=0.02)
    reader = tf.train.load_checkpoint(str(run / "ckpt-2"))
    assert found["parameters"] < sum(
        tf.TensorShape(shape).num_elements()
        for key, shape in reader.get_variable_to_shape_map().items()
        if key.startswith("model/")
    )


def test_a_command_line_is_examined_and_trains_nothing(tmp_path):
    path = tmp_path / "run"
    done = python("run.py", "--doctor", "--trial_steps=0", f"--model_dir={path}", *TINY, "--use_blur=false")
    assert done.returncode == 0, done.stderr
    assert "none: trial_steps is 0" in done.stdout
    assert "blur" not in done.stdout and "16 images give 30 negatives" in done.stdout
    assert not path.exists()


def test_without_a_run_the_machine_is_described(tmp_path):
    done = python("-m", "tf_simclrv2.doctor", f"--json={tmp_path / 'machine.json'}")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "machine.json").read_text())
    assert f"float32 {found['conv_gflops']['float32']:,.0f} GFLOP/s" in done.stdout
    assert found["memory_mb"] > found["free_mb"] > 0 and found["cores"] >= 1


def _config(text: str):
    return lambda path: (path / "config.json").write_text(text)


BAD = {
    "nothing there": (lambda path: None, [], "there is no"),
    "not JSON": (_config("{"), [], "config.json cannot be read"),
    "no object": (_config("[1]"), [], "config.json cannot be read"),
    "an unknown field": (_config('{"color": 1}'), [], "has no field color"),
    "an impossible value": (_config('{"model": {"resnet_depth": 3}}'), [], "resnet_depth is 3"),
    "no data": (
        _config('{"data": {"dataset": "image_folder", "data_dir": "/nowhere/at/all"}}'),
        [],
        "/nowhere/at/all",
    ),
    "steps": (_config("{}"), ["--trial_steps=-1"], "trial_steps is -1"),
}


@pytest.mark.parametrize(("make", "arguments", "message"), BAD.values(), ids=BAD)
def test_errors_are_one_sentence(tmp_path, monkeypatch, capsys, make, arguments, message):

    make(tmp_path)
    monkeypatch.setattr(sys, "argv", ["doctor", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as stop:
        program.main()
    assert str(stop.value).startswith("error: ") and message in str(stop.value)
    assert "\n" not in str(stop.value)
    assert capsys.readouterr().out == ""


def test_a_number_that_json_does_not_have_is_null(tmp_path):
    """Another program's parser may refuse NaN."""
    path = tmp_path / "found.json"
    write_json({"trial": {"loss": float("nan"), "rates": (1.0, float("inf"))}, "steps": 3}, str(path))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == {"trial": {"loss": None, "rates": [1.0, None]}, "steps": 3}
