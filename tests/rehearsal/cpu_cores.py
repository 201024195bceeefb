"""Runs a core's program on CPUs as if they were the cores of a slice."""

from __future__ import annotations

# JAX is in the extra `tpu-rehearsal`, not in the lock.
# pyright: reportMissingImports=false
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclrv2.rehearsal.step_program import StepProgram


class CpuCores:
    """A program, compiled for some CPUs, and the state of each.

    Args:
        program: Of one core.
        state: Values of its captured parameters, of all cores alike.
        cores: Their number.
    """

    def __init__(self, program: StepProgram, state: list[np.ndarray], cores: int) -> None:
        import jax
        from jax.interpreters.mlir import make_ir_context
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        from jaxlib import xla_client
        from jaxlib.mlir import ir

        self.program = program
        self.devices = jax.devices("cpu")[:cores]
        self._put, self._join = jax.device_put, jax.make_array_from_single_device_arrays
        self._everywhere = NamedSharding(Mesh(np.array(self.devices), "cores"), PartitionSpec())
        options = xla_client.CompileOptions()
        options.num_replicas, options.num_partitions = cores, 1
        assignment = np.arange(cores).reshape(cores, 1)
        options.device_assignment = xla_client.DeviceAssignment.create(assignment)
        with make_ir_context():
            module = ir.Module.parse(program.text)
        self._compiled = self.devices[0].client.compile_and_load(
            module, xla_client.DeviceList(tuple(self.devices)), options
        )
        self.state = [list(state) for _ in range(cores)]

    def step(self, batch: dict[str, np.ndarray]) -> None:
        """Makes a step on a global batch, of which each core has its part."""
        parts = [np.split(batch[name], len(self.devices)) for name in self.program.inputs]
        arguments = [self._on_all(part) for part in [*parts, *zip(*self.state, strict=True)]]
        outputs = self._compiled.execute_sharded(arguments).disassemble_into_single_device_arrays()
        for output, parameter in self.program.updates.items():
            for core in range(len(self.devices)):
                value = np.asarray(outputs[output][core])
                self.state[core][parameter - len(self.program.inputs)] = value

    def _on_all(self, values: Sequence[np.ndarray]) -> Any:
        """An array of which each core has its own; JAX takes them for copies of one."""
        parts = [self._put(value, device) for value, device in zip(values, self.devices, strict=True)]
        return self._join(parts[0].shape, self._everywhere, parts)


def captured_values(program: StepProgram) -> list[np.ndarray]:
    """The values that a program's captured parameters have now."""

    def value(tensor: tf.Tensor) -> np.ndarray:
        if tensor.dtype != tf.resource:
            return tensor.numpy()
        dtype = tf.dtypes.as_dtype(tensor._handle_data.shape_and_type[0].dtype)
        return tf.raw_ops.ReadVariableOp(resource=tensor, dtype=dtype).numpy()

    return [value(tensor) for tensor in program.captured]
