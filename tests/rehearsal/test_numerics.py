"""The program of a core computes what TensorFlow's own step does."""

from __future__ import annotations

# JAX is in the extra `tpu-rehearsal`, not in the lock.
# pyright: reportMissingImports=false
from collections.abc import Callable

import jax
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES, Stage
from tests.rehearsal.cpu_cores import CpuCores, captured_values
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.rehearsal.step_program import step_program
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.trainer import Trainer

jax.config.update("jax_enable_x64", True)  # Keys have 64 bits.


def _variables(task: Task, trainer: Trainer) -> dict[str, tf.Variable]:
    optimizer = named_variables(task.optimizer)
    found = {
        **named_variables(task.network),
        **{f"optimizer/{path}": variable for path, variable in optimizer.items()},
        **{f"memory/{path}": variable for path, variable in task.checkpoint_state().items()},
        **{f"mean/{name}": mean.total for name, mean in task.train_means.items()},
    }
    return {**{path: variable.value for path, variable in found.items()}, **trainer.positions}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_program_of_a_core_makes_tensorflows_step(stage: Stage, cores: int, replicas: Callable) -> None:
    batch = stage.batch("float32")
    spread = replicas(cores)
    with spread.scope():
        task = stage.task("float32")
        trainer = Trainer(task, None, spread.strategy)
    before = {path: variable.numpy() for path, variable in _variables(task, trainer).items()}
    shared = {name: spread.distribute(array) for name, array in batch.items()}
    tf.function(lambda: spread.strategy.run(trainer.replica_step, (shared,)))()
    wanted = {path: variable.numpy() for path, variable in _variables(task, trainer).items()}

    strategy = CompileOnlyStrategy(cores)
    with strategy.scope():
        task = stage.task("float32")
        trainer = Trainer(task, None, strategy)
    specs = {
        name: tf.TensorSpec([len(array) // cores, *array.shape[1:]], array.dtype)
        for name, array in batch.items()
    }
    program = step_program(trainer.replica_step, specs, strategy)
    run = CpuCores(program, captured_values(program), cores)
    run.step(batch)
    handles = [id(tensor) for tensor in program.captured]
    variables = _variables(task, trainer)
    used = {path: variable for path, variable in variables.items() if id(variable.handle) in handles}
    assert {path for path, value in wanted.items() if not np.array_equal(value, before[path])} <= set(used)
    for path, variable in used.items():
        got = [state[handles.index(id(variable.handle))] for state in run.state]
        want = wanted[path]
        if path.startswith("mean/"):
            got = [np.sum(got, axis=0)]
        for value in got:
            bound = 1e-4 * max(np.abs(want).max(), 1e-6)
            np.testing.assert_allclose(value, want, rtol=0, atol=bound, err_msg=path)
