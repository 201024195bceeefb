"""Estimates the peak memory of a training step from its graph, without running it.

Each tensor of the graph has a static shape and is alive from the operation that makes it to the last one that
uses it. The bodies of functions and loops are treated in the same way at the operation that calls them.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_simclrv2.doctor.machine import MEGABYTE, resident_mb
from tf_simclrv2.private_api import contents_of, function_named

# Operations whose output is the input's buffer, with another shape or name.
ALIASES = {
    *("Identity", "IdentityN", "Reshape", "StopGradient", "PreventGradient"),
    *("ExpandDims", "Squeeze", "EnsureShape", "Snapshot"),
}
# Operations whose output is not allocated by the step: constants belong to the graph, the rest to its caller.
FREE = {"Const", "Placeholder", "ReadVariableOp", "VarHandleOp", "NoOp"}
# Operations that only use the shapes of their inputs, which are static.
LOOK_AT_SHAPES = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}
# Element-wise operations that reuse the buffer of an input if it is not needed afterwards.
IN_PLACE = {
    *("Add", "AddN", "AddV2", "BiasAdd", "Exp", "Log", "Maximum", "Minimum", "Mul", "Neg", "RealDiv"),
    *("Relu", "ReluGrad", "Rsqrt", "SelectV2", "Sqrt", "Square", "Sub"),
}
# Measured on CPUs: the memory of the optimized graph and its kernels, and the ratio of the memory that the
# allocator holds to the size of the tensors in it.
RUNTIME_MB = 110
ALLOCATED = 1.2
_BODIES = ("f", "body", "then_branch", "else_branch")


def live_peak(graph: Any) -> int:
    """Returns the most bytes of tensors that are alive at once, if operations run as they were created.

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
    """Estimates the most memory that this process will hold while it trains, including weights and libraries.

    Args:
        graph: The graph of the training step; the network and the optimizer's state are in memory already.
        input_bytes: The size of the batches that will be in memory.
    """
    return resident_mb() + RUNTIME_MB + (ALLOCATED * live_peak(graph) + input_bytes) / MEGABYTE


def on_gpu_mb(graph: Any, input_bytes: int) -> float:
    """Estimates the most memory that a step takes on a GPU: what stays there between steps, and its tensors.

    What stays are the variables that the step uses: weights, statistics, the optimizer's state. Gradients are
    tensors of the graph. A compiled step holds fewer tensors than its graph has.

    Args:
        graph: The graph of the training step.
        input_bytes: The size of the batches that will be in memory.
    """
    return (_held(graph) + live_peak(graph) + input_bytes) / MEGABYTE


def _held(graph: Any) -> int:
    """Returns the size of the variables of a graph; its own list has only those that were read by value."""
    handles = [handle for _, handle in graph.captures if handle.dtype == tf.resource]
    contents = [content for handle in handles for content in contents_of(handle)]
    return sum(math.prod(shape) * dtype.size for shape, dtype in contents)


def _needed(graph: Any) -> list[tf.Operation]:
    """Returns the operations that run, in the order of their creation; unused ones are pruned."""
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
    """Yields the graphs of the functions that an operation calls."""
    attributes = {attribute.name for attribute in op.op_def.attr} if op.op_def else set()
    for name in _BODIES:
        if name in attributes and hasattr(op.get_attr(name), "name"):
            function = function_named(graph, op.get_attr(name).name)
            if function is not None:
                yield function.graph


def _bytes(tensor: tf.Tensor) -> int:
    """Returns the size of a dense tensor; an axis of unknown length counts as 1."""
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or tensor.shape.rank is None:
        return 0
    return math.prod(axis or 1 for axis in tensor.shape.as_list()) * tensor.dtype.size
