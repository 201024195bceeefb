"""From a step to the program of a core."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal.step_program import step_program

SPECS = {"y": tf.TensorSpec([4]), "x": tf.TensorSpec([4], tf.int64)}


def test_parameters_and_new_values_are_named() -> None:
    strategy = CompileOnlyStrategy(2)
    with strategy.scope():
        total, seen, unused = tf.Variable(tf.zeros([4])), tf.Variable(0, dtype=tf.int64), tf.Variable(1.0)

    def step(batch: dict[str, tf.Tensor]) -> None:
        total.assign_add(batch["y"])
        seen.assign(tf.reduce_max(batch["x"]))

    program = step_program(step, SPECS, strategy)
    assert program.inputs == ("x", "y")
    handles = [id(tensor) for tensor in program.captured]
    assert id(unused.handle) not in handles
    updated = {id(program.captured[parameter - 2]) for parameter in program.updates.values()}
    assert updated == {id(total.handle), id(seen.handle)} == set(handles)
    assert "func.func public @main" in program.text or "func.func @main" in program.text


def _python(batch: dict[str, tf.Tensor]) -> None:
    tf.py_function(lambda: None, [], [])


def _chosen(batch: dict[str, tf.Tensor]) -> None:
    tf.unique(batch["x"])


def _printed(batch: dict[str, tf.Tensor]) -> None:
    tf.raw_ops.PrintV2(input="step")


@pytest.mark.parametrize("step, op", [(_python, "EagerPyFunc"), (_chosen, "Unique"), (_printed, "PrintV2")])
def test_what_a_tpu_cannot_run_is_refused_by_name(step, op: str) -> None:
    with pytest.raises(ConfigError, match=f"a TPU cannot run this step, which has the operation {op} "):
        step_program(step, SPECS, CompileOnlyStrategy(2))
