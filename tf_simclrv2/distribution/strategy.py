"""Makes the distribution strategy of a run."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Literal

import tensorflow as tf

from tf_simclrv2.config import RunConfig
from tf_simclrv2.distribution.cluster import Cluster, cluster_of_environment
from tf_simclrv2.distribution.driver import unused_gpus
from tf_simclrv2.distribution.rendezvous import wait_for_peers, wait_until_answers
from tf_simclrv2.errors import ConfigError, RunError


def make_strategy(config: RunConfig) -> tf.distribute.Strategy:
    """Makes the distribution strategy of a run.

    `auto` chooses TPUStrategy if a TPU is named, else MultiWorkerMirroredStrategy if TF_CONFIG has a cluster,
    else MirroredStrategy if there are several GPUs or logical CPUs, else a strategy for one device.

    A worker of a cluster must call this before TensorFlow runs any operation.

    Args:
        config: The fields `strategy`, `virtual_devices`, `cluster_timeout`, `mode` and the TPU's are used.

    Returns:
        A strategy; the default strategy if the CPU is the only device.

    Raises:
        ConfigError: The machine has no such devices, or TF_CONFIG does not fit the settings.
        RunError: A worker or the TPU cannot be reached, or TensorFlow does not use the GPUs of the driver.
    """
    kind = config.strategy
    if kind == "auto":
        kind = _best_kind(config)
    if kind == "tpu":
        return _tpu_strategy(config)
    if kind == "multi_worker":
        _refuse_unused_gpus()
        return _multi_worker_strategy(_cluster_of(config), config.cluster_timeout)
    return local_strategy(kind)


def local_strategy(kind: Literal["auto", "one_device", "mirrored"] = "auto") -> tf.distribute.Strategy:
    """Makes a strategy for devices of this machine, whatever TF_CONFIG says.

    Args:
        kind: `auto`, the default, takes all GPUs or logical CPUs if there are several.

    Returns:
        A strategy; the default strategy if the CPU is the only device.

    Raises:
        ConfigError: `mirrored` is asked for, but there is only one device.
        RunError: TensorFlow does not use the GPUs of the driver.
    """
    _refuse_unused_gpus()
    several = len(_accelerators_or_cpus()) > 1
    mirrored = kind == "mirrored" or (kind == "auto" and several)
    return _mirrored_strategy() if mirrored else _one_device_strategy()


def _refuse_unused_gpus() -> None:
    if problem := unused_gpus():
        raise RunError(problem)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this worker writes files; the others only take part in what is computed."""
    return bool(strategy.extended.should_checkpoint)


def input_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes of a strategy that run this program; the hosts of a TPU do not."""
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) if several else 1


def _accelerators_or_cpus() -> list[str]:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def _best_kind(config: RunConfig) -> Literal["tpu", "multi_worker", "auto"]:
    if config.tpu_name or config.master:
        return "tpu"
    return "multi_worker" if cluster_of_environment() else "auto"


def _one_device_strategy() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    # Unlike the default strategy, this one copies batches to the GPU before a step needs them.
    return tf.distribute.OneDeviceStrategy(gpus[0].name) if gpus else tf.distribute.get_strategy()


def _mirrored_strategy() -> tf.distribute.Strategy:
    devices = _accelerators_or_cpus()
    if len(devices) == 1:
        raise ConfigError(
            f"strategy is 'mirrored', but the only device here is {devices[0]}; use --strategy=one_device, "
            "or --virtual_devices=N for N replicas on the CPU."
        )
    return tf.distribute.MirroredStrategy(devices)


def _cluster_of(config: RunConfig) -> Cluster:
    cluster = cluster_of_environment()
    if cluster is None:
        raise ConfigError(
            "strategy is 'multi_worker', but TF_CONFIG has no cluster; set it to the JSON of the cluster."
        )
    if config.virtual_devices:
        raise ConfigError(
            f"virtual_devices is {config.virtual_devices}, but a worker in TF_CONFIG's cluster uses its CPU "
            "as one device; leave it at 0 and start more workers."
        )
    if config.mode == "eval" and len(cluster.addresses) > 1:
        raise ConfigError(
            f"mode is 'eval', which runs in one process, but TF_CONFIG has {len(cluster.addresses)} workers; "
            "unset TF_CONFIG, or use --mode=train_then_eval."
        )
    return cluster


@functools.cache  # A process joins its cluster once.
def _multi_worker_strategy(cluster: Cluster, timeout: float) -> tf.distribute.Strategy:
    wait_for_peers(cluster, timeout)
    before = signal.getsignal(signal.SIGTERM)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if threading.current_thread() is threading.main_thread():
        # TensorFlow has installed its own handler, with which SIGTERM would no longer end the program.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
    return strategy


def _tpu_strategy(config: RunConfig) -> tf.distribute.Strategy:
    name = config.master or config.tpu_name
    if not name:
        raise ConfigError(
            "strategy is 'tpu', but tpu_name is not set; pass --tpu_name=NAME or --master=ADDRESS."
        )
    try:
        with _socket_timeout(config.cluster_timeout):
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
                name, zone=config.tpu_zone, project=config.gcp_project
            )
            _wait_for_tpu(resolver.master(), config.cluster_timeout)
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise RunError(
            f"tpu_name is {name!r}, but no TPU answers to it ({str(error).splitlines()[0]}); "
            "check --tpu_name, --tpu_zone and --gcp_project, or pass --use_tpu=False."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Limits the time of Python's network requests; those for the address of a TPU have no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _wait_for_tpu(master: str, timeout: float) -> None:
    """Checks that something listens at the address; TensorFlow itself would try forever."""
    if not master.startswith("grpc://"):
        return  # This host's own TPU.
    address = master.removeprefix("grpc://")
    if not wait_until_answers(address, timeout):
        raise TimeoutError(f"nothing answers at {address} after {timeout:g} s (cluster_timeout)")
