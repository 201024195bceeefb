"""What measures a GPU, tried on the CPU: devices, the table, and the line that names the card."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import types

import pytest
import tensorflow as tf

from benchmarks import gpu_table, replicas, train_step
from benchmarks.gpu_table import Programs, Settings, largest_batch, rows
from benchmarks.measuring import machine
from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.results_file import ResultsFile
from benchmarks.train_step import MeasuredStep
from tf_simclrv2 import ModelConfig

TINY = MeasuredStep(ModelConfig(resnet_depth=18, image_size=8), batch_size=4)


def test_a_step_passes_through_a_command_line():
    step = dataclasses.replace(TINY, precision="mixed_float16", compile="xla", replicas=2, blur=False)
    program, steps, here = step.command(3)[1:]
    assert (program, steps) == (train_step.__file__, "--steps=3")
    assert train_step.parser().parse_args([steps, here]).here == step


def test_a_step_has_its_settings():
    step = MeasuredStep(ModelConfig(resnet_depth=18, image_size=64), 4, "mixed_float16", "xla", True)
    config = step.config()
    training = config.training
    assert (training.precision, training.compile, training.rematerialize) == ("mixed_float16", "xla", True)
    assert config.data.use_blur
    assert not dataclasses.replace(step, blur=False).config().data.use_blur
    assert not TINY.config().data.use_blur  # The paper has none at this size.


def test_float16_is_measured_with_a_scaled_loss():
    task = train_step.pretraining_task(dataclasses.replace(TINY, precision="mixed_float16").config())
    assert type(task.optimizer).__name__ == "LossScaleOptimizer"
    assert math.isfinite(train_step.loss_of_step(task)())


@pytest.mark.parametrize("count", [1, 2])
def test_every_replica_has_its_rows_and_the_loss_is_that_of_all(strategy, count):
    with strategy(count).scope():
        task = train_step.pretraining_task(TINY.config())
    batch = {"key": tf.range(6, dtype=tf.int64)}
    shares = strategy(count).experimental_local_results(train_step.in_shares(batch, strategy(count)))
    found = [share["key"].numpy().tolist() for share in shares]
    assert found == ([[0, 1, 2, 3, 4, 5]] if count == 1 else [[0, 1, 2], [3, 4, 5]])
    loss = train_step.loss_of_step(task)()
    assert loss.shape == [] and math.isfinite(loss)


def test_replicas_of_the_cpu_are_measured_in_a_process_of_their_own():
    found = numbers_of(dataclasses.replace(TINY, replicas=2).command(steps=2))
    assert found["replicas"] == 2 and len(found["step_s"]) == 2 and min(found["step_s"]) > 0
    assert found["first_step_s"] > max(found["step_s"]) and "device_peak_mb" not in found


def test_counts_of_replicas_are_held_to_the_first():
    commands = replicas.commands([1, 2], on_gpu=True, steps=3)
    steps = [train_step.parser().parse_args(command[2:]).here for command in commands.values()]
    assert [(step.replicas, step.calls) for step in steps] == [(1, train_step.GPU_CALLS), (2, 4)]
    lines = replicas.table({"1": [1.0, 2.0, 3.0], "2": [3.0]}).splitlines()
    assert lines[1].split() == ["1", "2.000", "1.000", "3.000", "1.000"]
    assert lines[2].split() == ["2", "3.000", "3.000", "3.000", "1.500"]


def test_a_gpu_that_is_not_there_is_missed(monkeypatch):
    assert not train_step.choose_device("auto")
    with pytest.raises(SystemExit, match=r"1 GPUs are to be measured, but TensorFlow sees 0\."):
        train_step.choose_device("gpu")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 2)
    assert train_step.choose_device("auto", replicas=2)
    with pytest.raises(SystemExit, match=r"3 GPUs are to be measured, but TensorFlow sees 2\."):
        train_step.choose_device("auto", replicas=3)


def test_points_are_those_of_the_device_with_the_batch_that_is_asked_for():
    words = ["--batch=6", "--precision=mixed_float16", "--peer=compile", "--compile=none", "--rematerialize"]
    arguments = train_step.parser().parse_args(words)
    commands = train_step.contenders("r50_224px_b128", arguments, on_gpu=True)
    step = train_step.parser().parse_args(commands["ours"][2:]).here
    model, _ = train_step.POINTS["r50_224px_b128"]
    assert step == MeasuredStep(model, 6, "mixed_float16", "none", rematerialize=True, calls=4)
    assert commands["compile"][-4:] == ["6", "mixed_float16", "5", "4"]


@pytest.mark.parametrize("limit", [1, 3, 8, 61, 100, 1000])
@pytest.mark.parametrize("start", [1, 8])
def test_the_largest_batch_is_found_by_doubling_and_bisecting(limit, start):
    tried = []

    def trains(batch_size: int) -> bool:
        tried.append(batch_size)
        return batch_size <= limit

    found = largest_batch(trains, start)
    assert found <= limit < found * (1 + gpu_table.FINENESS) + 1
    assert trains(found) and len(tried) < 20


def test_a_network_of_which_no_image_trains():
    with pytest.raises(SystemExit, match="Not even a batch of 1 image trains"):
        largest_batch(lambda _: False, 8)


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_batch_too_large_is_an_answer_and_another_failure_is_not(capfd):
    printed = json.dumps({"step_s": [0.5], "first_step_s": 2.0, "device_peak_mb": 7.0})
    found = gpu_table.result_or_none(program(f"print({printed!r})"), 16)
    assert found == {"batch_size": 16, "step_s": [0.5], "first_step_s": [2.0], "device_peak_mb": 7.0}
    full = "import sys; sys.exit('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes')"
    assert gpu_table.result_or_none(program(full), 16) is None
    with pytest.raises(subprocess.CalledProcessError):
        gpu_table.result_or_none(program("raise ValueError('no such op')"), 16)
    assert "no such op" in capfd.readouterr().err


def test_the_largest_batch_is_measured(monkeypatch):
    def result(command: list[str], batch_size: int) -> dict | None:
        step = train_step.parser().parse_args(command[2:]).here
        assert step.rematerialize and step.batch_size == batch_size
        return {"batch_size": batch_size} if batch_size <= 20 else None

    monkeypatch.setattr(gpu_table, "result_or_none", result)
    assert gpu_table.measured_largest(dataclasses.replace(TINY, rematerialize=True)) == {"batch_size": 20}


def test_rows_of_the_table():
    one = rows(Settings("m"), Programs(published="tf2"), gpus=1)
    assert {"r50, auto", "r50, cluster", "r50, none", "r50, auto, without blur", "r18, auto"} < set(one)
    assert {"r50, PyTorch", "r50, torch.compile", "r50, published, float32", "r18, torch.compile"} < set(one)
    assert {"r152 3x sk, auto, rematerialized", gpu_table.PROFILE} < set(one)
    assert set(rows(Settings("m"), Programs(published="tf2"), gpus=4)) - set(one) == {
        "r50, 4 GPUs, cluster",
        "r50, 4 GPUs, none",
    }
    assert not any("published" in name for name in rows(Settings("m"), Programs(), gpus=1))


def test_rows_are_measured_once_and_a_failure_does_not_stop_the_others(tmp_path, capsys):
    calls = []

    def row(name: str, fails: bool = False):
        def call() -> dict:
            calls.append(name)
            if fails:
                raise subprocess.CalledProcessError(1, ["program"])
            return {"batch_size": 8, "step_s": [2.0], "first_step_s": [3.0], "device_peak_mb": 1024.0}

        return call

    path = tmp_path / "results.json"
    wanted = {"r50, auto": row("auto"), "r50, PyTorch": row("torch", fails=True), "r18, auto": row("r18")}
    assert gpu_table.measure(wanted, ResultsFile.open(path, Settings("m"))) == ["r50, PyTorch"]
    assert "r50, PyTorch failed" in capsys.readouterr().out
    assert gpu_table.measure(wanted, ResultsFile.open(path, Settings("m"))) == ["r50, PyTorch"]
    assert calls == ["auto", "torch", "r18", "torch"]
    with pytest.raises(SystemExit, match="other settings"):
        ResultsFile.open(path, Settings("another card"))


def test_the_table_holds_the_rows_of_a_network_to_its_first():
    def result(batch_size: int, seconds: float) -> dict:
        return {"batch_size": batch_size, "step_s": [seconds], "first_step_s": [9.0], "device_peak_mb": 512}

    results = {"r50, auto": result(128, 0.04), "r50, PyTorch": result(128, 0.06), "r18, auto": result(8, 1.0)}
    lines = gpu_table.table({**results, gpu_table.PROFILE: {}}).splitlines()
    assert lines[2:] == [
        "| r50, auto | 128 | 40.0 | 3,200 | 0.5 | 9.0 | 1.00 |",
        "| r50, PyTorch | 128 | 60.0 | 2,133 | 0.5 | 9.0 | 1.50 |",
        "| r18, auto | 8 | 1000.0 | 8 | 0.5 | 9.0 | 1.00 |",
    ]


def test_the_command_measures_and_goes_on(tmp_path, monkeypatch, capsys):
    """On the CPU, with a network that it can train."""
    for point in (gpu_table.R50, gpu_table.R18, gpu_table.R152):
        monkeypatch.setitem(train_step.POINTS, point, (TINY.model, TINY.batch_size))
    monkeypatch.setattr(gpu_table, "GPU_CALLS", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    words = ["--device=cpu", "--precision=float32", "--steps=1", f"--results={tmp_path / 'r.json'}"]
    monkeypatch.setattr(sys, "argv", ["gpu_table.py", *words, "--row=r50, auto", "--row=profile"])
    gpu_table.main()
    printed = capsys.readouterr().out
    assert "| r50, auto | 4 |" in printed and "| convolution, forward |" in printed
    gpu_table.main()
    again = capsys.readouterr().out
    assert again.strip() in printed  # From the file.


def test_no_such_row(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_table.py", "--device=cpu", "--row=r51"])
    with pytest.raises(SystemExit, match="There is no row 'r51'; there are: r50, auto; "):
        gpu_table.main()


def test_a_machine_with_gpus_names_them_with_driver_cuda_and_cudnn(monkeypatch, tmp_path):
    assert machine.gpus() == "" and not machine.machine().startswith(";")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    details = {"device_name": "NVIDIA H200"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    monkeypatch.setattr(
        tf.sysconfig, "get_build_info", lambda: {"cuda_version": "12.5.1", "cudnn_version": "9"}
    )
    driver = tmp_path / "version"
    driver.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 2025\nGCC 12.2.0"
    )
    monkeypatch.setattr(machine, "DRIVER", driver)
    assert machine.gpus() == "2 x NVIDIA H200, driver 580.95.05, CUDA 12.5.1 (built for), cuDNN 9 (built for)"
    library = types.SimpleNamespace(cudnnGetVersion=lambda: 91002)
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "none")
    assert machine.gpus() == "2 x NVIDIA H200, CUDA 12.5.1 (built for), cuDNN 9.10.2"
    assert machine.machine().startswith("2 x NVIDIA H200, CUDA 12.5.1 (built for), cuDNN 9.10.2; ")


def test_a_library_that_is_not_there_has_no_version():
    assert machine.loaded_cudnn("libno_such_library.so.9") == ""
