"""Detects the kind of device that replicas compute on, and splits the CPU into several."""

from __future__ import annotations

import functools

import tensorflow as tf

from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.errors import ConfigError

_FOR_TPUS = (tf.distribute.TPUStrategy, CompileOnlyStrategy)


def on_cpu() -> bool:
    """Returns whether there is no accelerator, so that code may rely on what only a CPU's kernels do.

    Batch norm, convolutions and the blur ask while their graph is traced, and choose their ops by it. The
    answer depends only on the machine and on the strategy in scope, which stay the same for the life of a
    process, so it is not handed through every layer. All of them call it through this module, so that a test
    that replaces `devices.on_cpu` reaches them all.
    """
    # Another host's TPU is none of this host's devices.
    return not (_has_accelerators() or on_tpu())


def on_gpu() -> bool:
    """Returns whether this host's GPUs compute, and not a TPU or the CPU."""
    return bool(tf.config.list_physical_devices("GPU")) and not on_tpu()


def on_tpu() -> bool:
    """Returns whether the strategy in scope computes on a TPU, or compiles for one."""
    return isinstance(tf.distribute.get_strategy(), _FOR_TPUS)


@functools.cache
def _has_accelerators() -> bool:
    return any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))


def split_cpu(devices: int) -> None:
    """Splits the CPU into logical devices, to try several replicas on one machine.

    Args:
        devices: The number of logical devices.

    Raises:
        ConfigError: TensorFlow has already started with another number, or there are GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        raise ConfigError(
            f"virtual_devices is {devices}, but this machine has {len(gpus)} GPU(s), which would be used "
            "instead; leave it at 0, or hide the GPUs with CUDA_VISIBLE_DEVICES=''."
        )
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    except RuntimeError as error:
        raise ConfigError(
            f"virtual_devices is {devices}, but TensorFlow has already started; split the CPU before that."
        ) from error
