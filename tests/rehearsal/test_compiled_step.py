"""What is made of the compiler's words."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_mean
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.rehearsal.compiled_step import _key, _step
from tf_simclrv2.rehearsal.compiler_process import _ALL_REDUCE, _bytes
from tf_simclrv2.rehearsal.step_program import step_program
from tf_simclrv2.rehearsal.tpu_slice import GIB, parse_slice

V5E = parse_slice("v5e-8")


@pytest.mark.parametrize(
    "error, used",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
            "(16.07G) exceeds available HBM (15.75G).",
            16.07,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
            "Used 27.47G of 15.75G hbm. Exceeded hbm capacity by 11.72G.",
            27.47,
        ),
    ],
)
def test_a_program_that_is_too_large(error: str, used: float) -> None:
    step = _step({"error": error}, V5E)
    assert not step.fits
    assert (step.used, step.limit) == (used * GIB, 15.75 * GIB)


def test_a_slice_that_the_compiler_does_not_know() -> None:
    with pytest.raises(ConfigError, match="tpu is 'v5e-8', which the TPU's compiler does not know"):
        _step({"error": 'INVALID_ARGUMENT: Topology layout "v5e:2x99" is not divisible by ...'}, V5E)


def test_anything_else_is_said_in_one_line() -> None:
    with pytest.raises(RunError, match=r"refuses the step \(UNIMPLEMENTED: no such thing\)"):
        _step({"error": "UNIMPLEMENTED: no such thing\nat line 7"}, V5E)


def test_memory_counts_once_what_arguments_and_outputs_share() -> None:
    found = {"arguments": 100, "outputs": 90, "shared": 80, "temporaries": 50, "code": 7, "flops": 1.0}
    step = _step({**found, "accessed": 2.0, "all_reduces": 3, "all_reduced": 4, "seconds": 5.0}, V5E)
    assert (step.fits, step.used, step.limit) == (True, 167, 16 * GIB)


def _traced(factor: float) -> str:
    """A step with a function of its own, a layer and a sum over cores, named anew by TensorFlow each time."""
    strategy = CompileOnlyStrategy(2)
    with strategy.scope():
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        total = tf.Variable(0.0)

    @tf.function
    def doubled(x: tf.Tensor) -> tf.Tensor:
        return factor * x

    def step(batch: dict[str, tf.Tensor]) -> None:
        y = tf.cond(batch["x"][0, 0] > 0, lambda: doubled(batch["x"]), lambda: batch["x"])
        total.assign_add(cross_replica_mean(tf.reduce_sum(layer(y))))

    return step_program(step, {"x": tf.TensorSpec([2, 4])}, strategy).text


def test_a_program_is_known_again_whatever_tensorflow_called_its_parts() -> None:
    first, again, other = _traced(2.0), _traced(2.0), _traced(3.0)
    assert first != again
    key = _key(first, V5E, ["0.1"])
    assert _key(again, V5E, ["0.1"]) == key
    others = (
        _key(other, V5E, ["0.1"]),
        _key(first, parse_slice("v5e-16"), ["0.1"]),
        _key(first, V5E, ["0.2"]),
    )
    assert key not in others


PROGRAM = """
  %all-reduce.3 = f32[2,1,2,64]{3,0,2,1:T(2,128)S(1)} all-reduce(%fusion.38), replica_groups={{0,1}}
  %pair = (bf16[8]{0}, s32[2,4,2]{1,0,2:T(2,128)S(1)}) all-reduce(%a, %b), replica_groups={{0,1}}
  %start.1 = f32[]{:T(128)} all-reduce-start(%c), replica_groups={{0,1}}
  %done.1 = f32[]{:T(128)} all-reduce-done(%start.1)
  %x = pred[3]{0} fusion(%all-reduce.3), calls=%region
"""


def test_sums_over_cores_are_counted_with_their_bytes() -> None:
    sums = _ALL_REDUCE.findall(PROGRAM)
    assert [_bytes(shapes) for shapes in sums] == [2 * 2 * 64 * 4, 8 * 2 + 16 * 4, 4]
