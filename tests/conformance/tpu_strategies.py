"""What can be had of a TPU's strategy on CPUs: its tracing, and its variables."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute import distribute_utils, mirrored_strategy
from tensorflow.python.tpu.tpu_system_metadata import TPUSystemMetadata


class TracingTPUStrategy(tf.distribute.TPUStrategy):
    """TensorFlow's own TPUStrategy, whose cores are logical CPUs.

    Functions are traced exactly as for a TPU: in its replica context, with its variables, and all inside one
    TPU cluster. They cannot run, since no CPU has the ops of a TPU. Variables exist and can be read.

    Args:
        cores: The number of cores.
    """

    def __init__(self, cores: int) -> None:
        super().__init__(_Resolver(cores))
        cpus = [device.name for device in tf.config.list_logical_devices("CPU")][:cores]
        host = self.extended._host_device
        self.extended._tpu_devices = np.array([[cpu] for cpu in cpus], dtype=object)
        self.extended._device_input_worker_devices = {host: cpus}
        self.extended._host_input_worker_devices = {host: [host] * cores}


class _Resolver:
    """Finds a TPU that is not there."""

    def __init__(self, cores: int) -> None:
        self._cores = cores

    def get_tpu_system_metadata(self) -> TPUSystemMetadata:
        devices = [mock.Mock(device_type="TPU") for _ in range(self._cores)]
        for index, device in enumerate(devices):
            device.name = f"/job:localhost/replica:0/task:0/device:TPU:{index}"
        return TPUSystemMetadata(self._cores, 1, self._cores, None, devices)


class _TPUVariables(mirrored_strategy.MirroredExtended):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._use_var_policy = True

    def _create_variable(self, *args: Any, **kwargs: Any) -> Any:
        with mock.patch.multiple(
            distribute_utils,
            VARIABLE_CLASS_MAPPING=distribute_utils.TPU_VARIABLE_CLASS_MAPPING,
            VARIABLE_POLICY_MAPPING=distribute_utils.TPU_VARIABLE_POLICY_MAPPING,
        ):
            return super()._create_variable(*args, **kwargs)


class TPUVariablesStrategy(tf.distribute.MirroredStrategy):
    """MirroredStrategy on logical CPUs with the variables of TPUStrategy, their assignments and their reads.

    Args:
        replicas: The number of replicas.
    """

    _collective_key_base = 1000

    def __init__(self, replicas: int) -> None:
        devices = [f"CPU:{index}" for index in range(replicas)]
        tf.distribute.Strategy.__init__(self, _TPUVariables(self, devices=devices))
