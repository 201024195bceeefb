"""The program that each core of a slice runs: a run's step, traced by TensorFlow, in XLA's language."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal.refusals import tpu_refusals

# TensorFlow's dialect has a copy, for which the language that compilers share has no word.
_COPY = re.compile(r"mhlo\.copy (%\S+) : (tensor<[^>]*>)")
_ALIAS = re.compile(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>")


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """The step of one core.

    Attributes:
        text: StableHLO.
        inputs: Names of its first parameters: the batch.
        captured: Its further parameters: handles of variables, and tensors that were made before the step.
        updates: For each output that is a variable's new value, its position among the outputs and that of
            the variable among all parameters.
    """

    text: str
    inputs: tuple[str, ...]
    captured: tuple[tf.Tensor, ...]
    updates: dict[int, int]


def step_program(
    step: Callable[[dict[str, tf.Tensor]], None],
    specs: dict[str, tf.TensorSpec],
    strategy: tf.distribute.Strategy,
) -> StepProgram:
    """Traces a replica's step and translates it.

    Args:
        step: From a core's batch to nothing: it updates variables, which exist already.
        specs: Of a core's batch, by name.
        strategy: The `CompileOnlyStrategy` in whose scope the variables were made; for a single core, the
            default strategy too.

    Raises:
        ConfigError: An operation cannot be in a TPU's program; the message names it.
    """
    names = tuple(sorted(specs))

    def run(*tensors: tf.Tensor) -> None:
        strategy.run(step, (dict(zip(names, tensors, strict=True)),))

    traced = tf.function(run, autograph=False, jit_compile=True)
    flat = [specs[name] for name in names]
    concrete = traced.get_concrete_function(*flat)
    refusals = tpu_refusals(concrete)
    if refusals:
        raise ConfigError(f"a TPU cannot run this step, which has the operation {refusals[0]}.")
    text = traced.experimental_get_compiler_ir(*flat)(stage="stablehlo")
    text = _COPY.sub(r"stablehlo.reshape \1 : (\2) -> \2", text)
    updates = {int(output): int(parameter) for parameter, output in _ALIAS.findall(text)}
    return StepProgram(text, names, tuple(concrete.captured_inputs), updates)
