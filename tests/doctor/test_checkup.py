import dataclasses

import pytest

from tests.training.small_runs import config_for, execute
from tf_simclrv2 import CheckpointError
from tf_simclrv2.doctor.checkup import _why_not, examine
from tf_simclrv2.doctor.machine import Machine

GFLOPS = {"float32": 1.0, "bfloat16": 1.0}
SMALL = Machine((), cores=2, memory_mb=100.0, free_mb=50.0, conv_gflops=GFLOPS, matmul_gflops=GFLOPS)


def test_a_trial_is_refused_by_the_memory_that_it_would_take():
    assert _why_not(1e6, SMALL) == "it would need 1,000,000 MB"
    assert _why_not(1.0, SMALL) == ""
    # A step on an accelerator is in the accelerator's memory.
    assert _why_not(1e6, dataclasses.replace(SMALL, devices=("GPU:0",))) == ""


def test_what_a_run_would_refuse_is_refused(tmp_path):
    """The doctor prepares a run as training does, and writes nothing either."""
    made = config_for(tmp_path / "run", mode="train", train_steps=2)
    execute(made)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    model = dataclasses.replace(made.model, proj_out_dim=32)
    with pytest.raises(CheckpointError, match=r"holds checkpoints of another run: .*proj_out_dim"):
        examine(dataclasses.replace(made, model=model), trial_steps=0)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
