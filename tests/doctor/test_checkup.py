import dataclasses

import pytest
import tensorflow as tf

from tests.training.small_runs import Lines, config_for, execute
from tf_simclrv2 import CheckpointError, RunError
from tf_simclrv2.distribution.compilation import COMPILING
from tf_simclrv2.distribution.gpu_memory import GpuMemory
from tf_simclrv2.doctor import checkup, machine, trial
from tf_simclrv2.doctor.checkup import _checkpoints_kept, _why_not, examine
from tf_simclrv2.doctor.machine import Machine, look_at_machine
from tf_simclrv2.doctor.printout import machine_lines, printout
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.model_dir.verified_checkpoints import checkpoint_steps
from tf_simclrv2.training.plan import plan_run

GFLOPS = {"float32": 1.0, "bfloat16": 1.0}
SMALL = Machine((), cores=2, memory_mb=100.0, free_mb=50.0, conv_gflops=GFLOPS, matmul_gflops=GFLOPS)


def test_a_trial_is_refused_by_the_memory_that_it_would_take():
    assert _why_not(1e6, SMALL) == "it would need 1,000,000 MB"
    assert _why_not(1.0, SMALL) == ""
    # A step on an accelerator is in the accelerator's memory.
    assert _why_not(1e6, dataclasses.replace(SMALL, devices=("GPU:0",))) == ""


def test_what_the_network_has_taken_is_not_free_any_more(monkeypatch):
    """At the start 5,000 MB were free; since then the network has taken 3,000 of them."""
    monkeypatch.setattr(checkup, "resident_mb", lambda: 3500.0)
    monkeypatch.setattr(checkup, "free_mb", lambda: 2000.0)
    before = dataclasses.replace(SMALL, free_mb=5000.0)
    assert _why_not(6610.0, before) == "it would need 6,610 MB"
    assert _why_not(5000.0, before) == ""


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        (5, {"checkpoint_steps": 4, "steps_per_loop": 2}),
        (4, {"checkpoint_steps": 2}),
        (3, {"keep_checkpoint_max": 1}),
    ],
)
def test_the_checkpoints_that_are_kept_are_counted(tmp_path, steps, changes):
    """After the first loop, every interval and the last step."""
    config = config_for(tmp_path, mode="train", train_steps=steps, **changes)
    counted = _checkpoints_kept(plan_run(config, 1))
    execute(config)
    assert counted == len(checkpoint_steps(str(tmp_path)))


def test_what_a_run_would_refuse_is_refused(tmp_path):
    """The doctor prepares a run as training does, and writes nothing either."""
    made = config_for(tmp_path / "run", mode="train", train_steps=2)
    execute(made)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    model = dataclasses.replace(made.model, proj_out_dim=32)
    with pytest.raises(CheckpointError, match=r"holds checkpoints of another run: .*proj_out_dim"):
        examine(dataclasses.replace(made, model=model), trial_steps=0)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


UNUSED = (
    "8 GPU(s) are visible to the driver, but TensorFlow sees none, because libcudnn.so.9 cannot be loaded "
    "(install tensorflow[and-cuda]); TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's own messages, and "
    "CUDA_VISIBLE_DEVICES='' uses the CPU instead."
)


def test_gpus_that_tensorflow_does_not_use(monkeypatch, tmp_path):
    """The machine is described, and a run is refused as it would be."""
    monkeypatch.setattr(machine, "unused_gpus", lambda: UNUSED)
    lines = machine_lines(look_at_machine())
    assert lines[0].split() == ["devices", "CPU", "only"]
    assert " ".join(" ".join(lines[1:4]).split()).startswith(UNUSED)
    with pytest.raises(RunError, match="because libcudnn"):
        examine(config_for(tmp_path / "run"), trial_steps=0)


def test_the_memory_of_a_gpu_is_estimated_and_told_after_a_trial(monkeypatch, tmp_path):
    """What the process holds beside it is not part of it."""
    card = dataclasses.replace(SMALL, devices=("/device:GPU:0",), card_mb=200.0)
    monkeypatch.setattr(checkup, "look_at_machine", lambda: card)
    monkeypatch.setattr(trial, "gpu_memory", lambda: GpuMemory(now_mb=1234.5, peak_mb=10900.0))
    found = examine(config_for(tmp_path / "run"), trial_steps=1)
    # Weights, momenta and gradients at least.
    assert 3 * 4 * found.parameters / 2**20 < found.on_gpu_mb < 5 * 4 * found.parameters / 2**20
    printed = printout(found)
    error = f"{found.on_gpu_mb / 10900.0 - 1:+.1%}"
    assert f"{found.on_gpu_mb:,.0f} MB estimated, 10,900 measured ({error}), 1,234 after the trial" in printed
    assert "GPU memory        200 MB" in printed
    assert f"memory            {found.memory_mb:,.0f} MB estimated\n" in printed
    few = dataclasses.replace(found, trial=None, on_gpu_mb=None)
    assert printout(few).count("GPU memory") == 1


def test_without_a_gpu_nothing_is_estimated_for_it(tmp_path):
    found = examine(config_for(tmp_path / "run"), trial_steps=0)
    assert found.on_gpu_mb is None and "GPU memory" not in printout(found)


def test_the_step_is_compiled_as_training_compiles_it(monkeypatch, tmp_path):
    """Else its speed would be another one, and an operation without a kernel would go unnoticed."""

    def decay(self):
        return tf.cast(tf.strings.length(tf.strings.as_string(self.global_step)), tf.float32)

    monkeypatch.setattr(Task, "weight_decay", decay)
    lines = Lines()
    with pytest.raises(RunError, match=r"^XLA cannot compile AsString, which the step contains; use --comp"):
        examine(config_for(tmp_path / "run", compile="xla"), trial_steps=1, say=lines)
    assert COMPILING in lines
    lines = Lines()
    found = examine(config_for(tmp_path / "run", compile="none"), trial_steps=1, say=lines)
    assert found.trial is not None and COMPILING not in lines


def test_what_the_doctor_compiles_is_kept_for_training(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(checkup, "keep_compiled_steps", kept.append)
    monkeypatch.setattr(checkup, "look_at_machine", lambda: dataclasses.replace(SMALL, unused_gpus=UNUSED))
    with pytest.raises(RunError):
        examine(config_for(tmp_path / "run", compile_cache="/compiled"))
    assert kept == ["/compiled"]
