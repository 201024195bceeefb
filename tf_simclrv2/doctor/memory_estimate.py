"""The memory of a training step, from its graph: how much of what it computes is alive at once.

Each tensor of the graph has a static shape and lives from the operation that makes it to the last one that
needs it. Bodies of functions and loops are gone through in the same way, where they are called.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_simclrv2.doctor.machine import MEGABYTE, resident_mb

# The output is the input's buffer under another shape or name.
ALIASES = {
    *("Identity", "IdentityN", "Reshape", "StopGradient", "PreventGradient"),
    *("ExpandDims", "Squeeze", "EnsureShape", "Snapshot"),
}
# What they make is not the step's: constants belong to the graph, variables and arguments to its caller.
FREE = {"Const", "Placeholder", "ReadVariableOp", "VarHandleOp", "NoOp"}
# They look at shapes, which are known beforehand.
LOOK_AT_SHAPES = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}
# Element-wise operations write over an input that nobody needs after them.
IN_PLACE = {
    *("Add", "AddN", "AddV2", "BiasAdd", "Exp", "Log", "Maximum", "Minimum", "Mul", "Neg", "RealDiv"),
    *("Relu", "ReluGrad", "Rsqrt", "SelectV2", "Sqrt", "Square", "Sub"),
}
# Measured on CPUs: what the optimized graph and its kernels take once, and how much more memory the allocator
# holds than there are tensors in it.
RUNTIME_MB = 110
ALLOCATED = 1.2
_BODIES = ("f", "body", "then_branch", "else_branch")


def live_peak(graph: Any) -> int:
    """The most bytes of tensors that are alive at once, where a graph runs in the order of its making.

    Args:
        graph: The graph of a `tf.function`, traced with static shapes. Arguments and variables do not count.

    Example:
        >>> doubled = tf.function(lambda x: tf.sin(x) + tf.cos(x))
        >>> live_peak(doubled.get_concrete_function(tf.TensorSpec([1000], tf.float32)).graph)
        8000
    """
    order = _needed(graph)
    buffer_of: dict[Any, Any] = {}
    ends: dict[Any, int] = {}
    for position, op in enumerate(order):
        if op.type not in LOOK_AT_SHAPES:
            for tensor in op.inputs:
                ends[buffer_of.get(tensor.ref(), tensor.ref())] = position
        for i, tensor in enumerate(op.outputs):
            alias = op.type in ALIASES and i < len(op.inputs)
            source = op.inputs[i].ref() if alias else None
            buffer = buffer_of.get(source, source) if source else tensor.ref()
            buffer_of[tensor.ref()] = buffer
            ends[buffer] = max(ends.get(buffer, 0), position)
    for tensor in graph.outputs:
        ends[buffer_of.get(tensor.ref(), tensor.ref())] = len(order)

    size_of: dict[Any, int] = {}
    dying = collections.defaultdict(list)
    for buffer, position in ends.items():
        dying[position].append(buffer)
    live = peak = 0
    for position, op in enumerate(order):
        made = 0
        if op.type not in FREE and op.type not in ALIASES:
            for tensor in op.outputs:
                size_of[tensor.ref()] = _bytes(tensor)
                made += size_of[tensor.ref()]
        inside = max((live_peak(body) for body in _bodies(op, graph)), default=0)
        freed = [size_of.get(buffer, 0) for buffer in dying[position]]
        reused = made if op.type in IN_PLACE and made in freed else 0
        peak = max(peak, live + max(made - reused, inside))
        live += made - sum(freed)
    return peak


def estimated_mb(graph: Any, input_bytes: int) -> float:
    """The most memory that this process will hold while it trains, its weights and libraries included.

    Args:
        graph: Of a training step, traced; the network and the optimizer's state are in memory.
        input_bytes: Of batches, as far as they are not yet.
    """
    return resident_mb() + RUNTIME_MB + (ALLOCATED * live_peak(graph) + input_bytes) / MEGABYTE


def _needed(graph: Any) -> list[tf.Operation]:
    """The operations that run, in the order of their making: what nobody asks for is pruned."""
    effects = [op for op in graph.get_operations() if op.op_def is not None and op.op_def.is_stateful]
    wanted = [tensor.op for tensor in graph.outputs] + effects + list(graph.control_outputs)
    needed: set[tf.Operation] = set()
    while wanted:
        op = wanted.pop()
        if op not in needed:
            needed.add(op)
            wanted += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return [op for op in graph.get_operations() if op in needed]


def _bodies(op: tf.Operation, graph: Any) -> Iterator[Any]:
    """The graphs of the functions that an operation calls."""
    attributes = {attribute.name for attribute in op.op_def.attr} if op.op_def else set()
    for name in _BODIES:
        if name in attributes and hasattr(op.get_attr(name), "name"):
            function = _find_function(graph, op.get_attr(name).name)
            if function is not None:
                yield function.graph


def _find_function(graph: Any, name: str) -> Any:
    while graph is not None:
        # TensorFlow has no public way from a call to the graph of what is called.
        function = graph._get_function(name) if hasattr(graph, "_get_function") else None
        if function is not None:
            return function
        graph = getattr(graph, "outer_graph", None)
    return None


def _bytes(tensor: tf.Tensor) -> int:
    """Of a dense tensor; an axis of unknown length counts as one."""
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or tensor.shape.rank is None:
        return 0
    return math.prod(axis or 1 for axis in tensor.shape.as_list()) * tensor.dtype.size
