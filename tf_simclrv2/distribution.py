"""Strategies, and the two collectives that the method needs: concatenation and mean over replicas."""

from __future__ import annotations

import os

import tensorflow as tf

from tf_simclrv2.config import ConfigError, RunConfig


def num_replicas() -> int:
    """Replicas in sync, 1 outside any strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> tf.Tensor | int:
    """This replica's index, 0 outside a replica context."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None or num_replicas() == 1 else context.replica_id_in_sync_group


def cross_replica_concat(x: tf.Tensor) -> tf.Tensor:
    """Concatenates a tensor of every replica along axis 0, in replica order.

    Each replica writes its rows into a zero tensor of all rows, and these are summed. The gradient
    of the sum is a sum too, so every replica receives what all replicas' losses owe to its rows.
    Shapes stay static, as TPUs need.

    Args:
        x: [n, ...], the same static shape on every replica.

    Returns:
        [n · replicas, ...], equal on every replica; `x` itself on a single one.

    Example:
        >>> cross_replica_concat(tf.ones([2, 3])).shape
        TensorShape([2, 3])
    """
    replicas = num_replicas()
    context = tf.distribute.get_replica_context()
    if replicas == 1 or context is None:
        return x
    mine = tf.one_hot(context.replica_id_in_sync_group, replicas, dtype=x.dtype)
    slots = tf.reshape(mine, [replicas] + [1] * x.shape.rank) * x[tf.newaxis]
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, slots)
    return tf.reshape(summed, tf.concat([[-1], tf.shape(x)[1:]], axis=0))


def cross_replica_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor over the replicas; `x` itself on a single one."""
    context = tf.distribute.get_replica_context()
    if num_replicas() == 1 or context is None:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)


def split_cpu(devices: int) -> None:
    """Splits the CPU into logical devices, so that several replicas run on one machine.

    Args:
        devices: How many.

    Raises:
        ConfigError: TensorFlow has already started with another number.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    except RuntimeError as error:
        raise ConfigError(
            f"virtual_devices is {devices}, but TensorFlow has already started; split the CPU first."
        ) from error


def make_strategy(config: RunConfig) -> tf.distribute.Strategy:
    """The strategy that a run asks for.

    `auto` takes the TPU that is named, else MultiWorkerMirroredStrategy where TF_CONFIG names a
    cluster, else MirroredStrategy over several GPUs or logical CPUs, else the one device.

    Args:
        config: `strategy`, `virtual_devices` and the TPU's name.

    Returns:
        A strategy, the default one for a single device.

    Raises:
        ConfigError: The TPU cannot be reached, or the machine has no such devices.
    """
    kind = config.strategy
    devices = _accelerators_or_cpus()
    if kind == "auto":
        kind = _best_kind(config, devices)
    if kind == "tpu":
        return _tpu_strategy(config)
    if kind == "multi_worker":
        if "TF_CONFIG" not in os.environ:
            raise ConfigError(
                "strategy is 'multi_worker', but TF_CONFIG is not set; set it to the cluster's JSON."
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.MirroredStrategy(devices) if kind == "mirrored" else tf.distribute.get_strategy()


def _accelerators_or_cpus() -> list[str]:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def _best_kind(config: RunConfig, devices: list[str]) -> str:
    if config.tpu_name or config.master:
        return "tpu"
    if "cluster" in os.environ.get("TF_CONFIG", ""):
        return "multi_worker"
    return "mirrored" if len(devices) > 1 else "one_device"


def _tpu_strategy(config: RunConfig) -> tf.distribute.Strategy:
    name = config.master or config.tpu_name or ""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            name, zone=config.tpu_zone, project=config.gcp_project
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            f"tpu_name is {name!r}, but no TPU answers to it ({str(error).splitlines()[0]}); "
            "check --tpu_name, --tpu_zone and --gcp_project, or pass --use_tpu=False."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
