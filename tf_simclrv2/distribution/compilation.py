"""What of a replica's step is compiled: nothing, all of it, or clusters that TensorFlow picks."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import tensorflow as tf

from tf_simclrv2.distribution.collectives import num_replicas
from tf_simclrv2.distribution.devices import on_gpu, on_tpu
from tf_simclrv2.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])
CompileMode = Literal["none", "xla", "cluster"]
# What a user is told before the first step.
COMPILING = "compiling the step, which takes about half a minute the first time"


def compile_mode(asked: str, exchanges: bool = True) -> CompileMode:
    """Resolves `TrainingConfig.compile` for the strategy in scope.

    `auto` compiles the whole step on one GPU. Replicas on several GPUs exchange sums in the middle of a
    step, so there only the parts between the exchanges can be compiled, in clusters. A TPU compiles by
    itself. A CPU is faster without: oneDNN's convolutions are not XLA's.

    Args:
        asked: `auto`, `none`, `xla` or `cluster`.
        exchanges: Whether replicas exchange anything within what is compiled, as in a step (the default). A
            forward pass in inference mode does not, so each replica compiles all of its own.

    Returns:
        What will be done.

    Raises:
        ConfigError: `xla` is asked for on several replicas that exchange something.

    Example:
        >>> compile_mode("auto")  # On a CPU.
        'none'
    """
    if on_tpu():  # It compiles the whole step in any case, and refuses a compiled function within it.
        return "none"
    several = exchanges and num_replicas() > 1
    if asked == "xla" and several:
        raise ConfigError(
            f"compile is 'xla', but {num_replicas()} replicas exchange sums in the middle of a step, which "
            "then cannot be compiled as a whole; use --compile=cluster or --compile=auto."
        )
    if asked != "auto":
        return asked
    if not on_gpu():
        return "none"
    return "cluster" if several else "xla"


def start_compiling(asked: str) -> CompileMode:
    """Resolves the mode and, for `cluster`, turns TensorFlow's clustering on for the whole process.

    Args:
        asked: As in `compile_mode`.
    """
    mode = compile_mode(asked)
    if mode == "cluster":
        tf.config.optimizer.set_jit("autoclustering")
    return mode


def fused_on_gpu(function: Function) -> Function:
    """Has XLA fuse a chain of elementwise ops and reductions on a GPU, whether the step is compiled or not.

    Elsewhere it is the function itself: a CPU has kernels of its own, and a TPU compiles the whole step and
    refuses a compiled function within it.

    Args:
        function: From tensors of static shapes, and hashable settings, to tensors.
    """
    fused = tf.function(function, autograph=False, jit_compile=True)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return (fused if on_gpu() else function)(*arguments)

    return typing.cast(Function, call)


def compiled(function: Callable[..., Any], mode: CompileMode) -> Callable[..., Any]:
    """Wraps what a replica runs so that XLA compiles it as a whole, where the mode says so.

    Args:
        function: From tensors of static shapes to tensors, without host callbacks.
        mode: From `compile_mode`.

    Returns:
        The compiled function for `xla`, else `function` itself.
    """
    return tf.function(function, autograph=False, jit_compile=True) if mode == "xla" else function
