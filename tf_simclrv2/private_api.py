"""The private names of Keras and TensorFlow that this package calls, behind public ones of its own.

Nothing public does what they do. `tests/test_private_api.py` fails when a new release has changed one of
them, and says what to do. docs/architecture.md lists the few that are in other modules, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.python.framework import kernels
from tensorflow.python.ops import script_ops
from tensorflow.python.ops.handle_data_util import get_resource_handle_data


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Lists a layer and all layers that it is made of, each once, at any depth.

    `keras.Model.layers` lists only the layers that a model holds directly; other layers have no such list.

    Args:
        layer: Any layer or model.

    Example:
        >>> norms = [layer for layer in layers_within(network) if isinstance(layer, BatchNormRelu)]
    """
    return layer._flatten_layers()


def parts_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Lists the layers that a layer holds directly, as attributes or in lists.

    Args:
        layer: Any layer or model.
    """
    return layer._flatten_layers(include_self=False, recursive=False)


def run_for_all_replicas(update: Callable[[tf.distribute.Strategy], Any]) -> None:
    """Calls a function once for all replicas, from the step that each of them runs.

    `tf.distribute.ReplicaContext.merge_call` alone is not enough: some strategies need no merging, or do not
    allow it, and only TensorFlow knows which.

    Args:
        update: Receives the strategy in scope, in whose cross-replica context it may update variables.
    """
    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy())


def exact_dot(a: tf.Tensor, b: tf.Tensor, transpose_a: bool, transpose_b: bool) -> tf.Tensor:
    """Multiplies two matrices with XLA, in the precision of their dtype; without a gradient.

    Args:
        a: [n, m], float32 or float64; [m, n] if `transpose_a`.
        b: [m, p], of the dtype of `a`; [p, m] if `transpose_b`.
        transpose_a: Whether `a` is transposed first.
        transpose_b: Whether `b` is transposed first.

    Returns:
        [n, p], of the dtype of `a`.
    """
    dimensions = xla_data_pb2.DotDimensionNumbers(
        lhs_contracting_dimensions=[0 if transpose_a else 1],
        rhs_contracting_dimensions=[1 if transpose_b else 0],
    )
    precision = xla_data_pb2.PrecisionConfig(operand_precision=[xla_data_pb2.PrecisionConfig.HIGHEST] * 2)
    return xla.dot_general(a, b, dimensions, precision)


def core_number() -> tf.Tensor:
    """Returns the number of the core that runs a program of XLA, uint32 []."""
    return gen_xla_ops.xla_replica_id()


def sum_over_cores(x: tf.Tensor, cores: int) -> tf.Tensor:
    """Returns the sum of a tensor over the cores, of the tensor's shape and dtype, in a program of XLA.

    Args:
        x: This core's tensor.
        cores: The number of all cores.
    """
    everyone = tf.range(cores)[tf.newaxis]
    return gen_xla_ops.xla_all_reduce(x, everyone, "Add", "CrossReplica")


def devices_with_kernel(op_type: str) -> set[str]:
    """Returns the types of devices, XLA's included, for which TensorFlow has a kernel of an op.

    Args:
        op_type: For example `MatMul`.
    """
    tf.constant(0)  # TensorFlow registers XLA's kernels when it starts.
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op_type).kernel}


def functions_of(graph: tf.Graph) -> list[Any]:
    """Returns the functions in a graph's own library; the attribute `graph` of each is its body."""
    return list(graph._functions.values())


def function_named(graph: Any, name: str) -> Any:
    """Returns a function that the operations of a graph may call, or None; its attribute `graph` is its body.

    Args:
        graph: Where the call is; the graphs around it are searched too.
        name: As the attribute of the call has it.
    """
    while graph is not None:
        function = graph._get_function(name) if isinstance(graph, tf.Graph) else None
        if function is not None:
            return function
        graph = getattr(graph, "outer_graph", None)
    return None


def contents_of(handle: tf.Tensor) -> list[tuple[tuple[int, ...], tf.DType]]:
    """Returns the shape and the dtype of what a captured variable holds: one of each, as a rule."""
    contents = get_resource_handle_data(handle).shape_and_type
    return [(tuple(axis.size for axis in each.shape.dim), tf.as_dtype(each.dtype)) for each in contents]


def register_python_function(name: str, function: Callable[..., Any]) -> None:
    """Lets the op `PyFuncStateless` call a Python function by a name that is the same in every program.

    `tf.numpy_function` numbers the functions of a program, so that another process, such as a data service,
    would not find what a graph names.

    Args:
        name: For the attribute `token` of the op.
        function: Receives the op's inputs. Keep it, for TensorFlow forgets a function that nobody else holds.
    """
    script_ops._py_funcs._funcs[name] = function
