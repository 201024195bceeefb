import dataclasses

from tf_simclrv2.doctor.checkup import _why_not
from tf_simclrv2.doctor.machine import Machine

GFLOPS = {"float32": 1.0, "bfloat16": 1.0}
SMALL = Machine((), cores=2, memory_mb=100.0, free_mb=50.0, conv_gflops=GFLOPS, matmul_gflops=GFLOPS)


def test_a_trial_is_refused_by_the_memory_that_it_would_take():
    assert _why_not(1e6, SMALL) == "it would need 1,000,000 MB"
    assert _why_not(1.0, SMALL) == ""
    # A step on an accelerator is in the accelerator's memory.
    assert _why_not(1e6, dataclasses.replace(SMALL, devices=("GPU:0",))) == ""
