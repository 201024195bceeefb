"""What a compiler for TPUs would refuse in a traced function."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import tensorflow as tf

from tf_simclrv2.private_api import devices_with_kernel, functions_of

# XLA on a CPU and on a TPU share their kernels; the ones for TPUs are not in TensorFlow's public builds.
XLA_DEVICE = "XLA_CPU_JIT"
# Arguments are not ops of the compiled program.
ARGUMENT = "Placeholder"
ON_THE_HOST = "_xla_outside_compilation"


def tpu_refusals(function: tf.types.experimental.ConcreteFunction) -> list[str]:
    """Lists the ops of a function, and of all that it calls, that cannot be in a TPU's program.

    Refused is an op without an XLA kernel, which takes in everything that calls back to the host, prints,
    writes summaries or touches files, and an output whose shape is not known before the program runs. An
    assertion is not refused: XLA has a kernel for it, which does nothing.
    """
    return [
        f"{op.type} {op.name}: {reason}"
        for graph in graphs_of(function.graph)
        for op in graph.get_operations()
        for reason in _reasons(op)
    ]


def graphs_of(graph: tf.Graph) -> list[tf.Graph]:
    """Collects a graph and those of the functions that it calls: bodies of loops, branches, functions."""
    found = {id(graph): graph}
    for called in functions_of(graph):
        found.update((id(inner), inner) for inner in graphs_of(called.graph))
    return list(found.values())


def _reasons(op: tf.Operation) -> Iterator[str]:
    if op.type != ARGUMENT and not _has_xla_kernel(op.type):
        yield "XLA has no kernel for it"
    if ON_THE_HOST in op.node_def.attr:
        yield "it runs on the host"
    for output in op.outputs:
        if not _is_opaque(output) and not output.shape.is_fully_defined():
            yield f"its shape {output.shape} is not static"


def _is_opaque(tensor: tf.Tensor) -> bool:
    """Whether it has no shape in the graph by design."""
    op = tensor.op
    if op.type == "ZerosLike":
        return _is_opaque(op.inputs[0])
    if op.type == ARGUMENT and not tensor.consumers():
        return True  # What a loop's condition is given because its body needs it.
    # What a resource holds has a shape, and what this kernel keeps for its own gradient is its own affair.
    return tensor.dtype == tf.resource or (op.type, tensor.value_index) == ("FusedBatchNormV3", 5)


@functools.cache
def _has_xla_kernel(op_type: str) -> bool:
    return XLA_DEVICE in devices_with_kernel(op_type)
