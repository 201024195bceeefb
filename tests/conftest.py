"""TensorFlow on four logical devices, and fixtures that run a function over replicas of them."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As the package does; but here TensorFlow is imported before it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

# CPUs, unless `make test-gpu` asks for a GPU.
KIND = "GPU" if os.environ.get("TEST_ON_GPU") else "CPU"
NUM_DEVICES = 4
# MiB; the networks of tests are small.
GPU_MEMORY = 6 * 1024


def pytest_configure() -> None:
    """Devices and threads can only be set before TensorFlow starts."""
    if KIND == "CPU":
        # Programs that tests start inherit both.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Most programs run once or twice: LLVM's optimizations take longer than they save.
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        )
    devices = tf.config.list_physical_devices(KIND)
    if not devices:
        pytest.exit("TensorFlow sees no GPU, so nothing is tested on one", returncode=0)
    part = tf.config.LogicalDeviceConfiguration(memory_limit=GPU_MEMORY if KIND == "GPU" else None)
    tf.config.set_logical_device_configuration(devices[0], [part] * NUM_DEVICES)
    # The published numbers are exact float32.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if "PYTEST_XDIST_WORKER" in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    # Tracing makes so much garbage that looking through all of TensorFlow for more takes a part of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@functools.cache
def _strategy(replicas: int) -> tf.distribute.Strategy:
    if replicas == 1:
        return tf.distribute.get_strategy()

    class Mirrored(tf.distribute.MirroredStrategy):
        # TensorFlow's own tests set this: strategies of different sizes in one process must not share
        # the keys by which the devices of a collective find each other.
        _collective_key_base = 100 * replicas

    return Mirrored([f"{KIND}:{i}" for i in range(replicas)])


class Replicas:
    """A number of replicas, and arrays shared out among them.

    A batch of several views, [views · n, ...] with all first views first, is shared out so that each
    replica gets its own examples' views.
    """

    def __init__(self, count: int, strategy: tf.distribute.Strategy | None = None) -> None:
        self.count = count
        self.strategy = strategy or _strategy(count)

    def scope(self) -> Any:
        """Where models and optimizers have to be built."""
        return self.strategy.scope()

    def share(self, array: np.ndarray, views: int = 1) -> list[np.ndarray]:
        """The part of each replica."""
        by_view = np.split(array, views)
        return [
            np.concatenate([np.split(view, self.count)[replica] for view in by_view])
            for replica in range(self.count)
        ]

    def join(self, parts: list[np.ndarray], views: int = 1) -> np.ndarray:
        """The inverse of `share`."""
        by_replica = [np.split(part, views) for part in parts]
        return np.concatenate([part[view] for view in range(views) for part in by_replica])

    def distribute(self, array: np.ndarray, views: int = 1) -> Any:
        """The array as an argument of `strategy.run`: to each replica its part."""
        shares = [tf.constant(share) for share in self.share(array, views)]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )

    def traced(self, function: Callable, *arrays: np.ndarray, views: int = 1) -> Callable[[], list[Any]]:
        """What runs `function` on every replica's share of the arrays each time it is called; traced once.

        It returns one result a replica, in NumPy.
        """

        @tf.function
        def run_all(*values: Any) -> Any:
            return self.strategy.run(function, values)

        shared = [self.distribute(array, views) for array in arrays]

        def call() -> list[Any]:
            results = run_all(*shared)
            return [
                tf.nest.map_structure(
                    lambda x, i=i: self.strategy.experimental_local_results(x)[i].numpy(), results
                )
                for i in range(self.count)
            ]

        return call

    def run(self, function: Callable, *arrays: np.ndarray, views: int = 1, times: int = 1) -> list[Any]:
        """Runs `function` on every replica's share of the arrays; one result a replica, in NumPy.

        With `times` it is run so often, traced once, and the last results are returned.
        """
        call = self.traced(function, *arrays, views=views)
        for _ in range(times - 1):
            call()
        return call()


@pytest.fixture
def strategy() -> Callable[[int], tf.distribute.Strategy]:
    """`strategy(n)`: the default strategy for 1, else MirroredStrategy over n logical CPUs."""
    return _strategy


@pytest.fixture
def replicas() -> type[Replicas]:
    """`replicas(n)`: n replicas to run a function on."""
    return Replicas


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """A small network, and the module that it was exported to."""
    from tests.small_module import save_small_module

    path = str(tmp_path_factory.mktemp("export") / "module")
    return save_small_module(path), path


@pytest.fixture(scope="module")
def module(exported: tuple[Any, str]) -> Any:
    """That module, loaded."""
    return tf.saved_model.load(exported[1])


@pytest.fixture
def shapes_only() -> Iterator[None]:
    """Variables made in the test have shapes but no values, so that the largest network costs nothing."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()  # or a later scope would fill them after all


@pytest.fixture(autouse=True, scope="module")
def _free_memory() -> Iterator[None]:
    """What a file's tests have traced is not kept for the next file's."""
    yield
    _forget_custom_gradients()
    keras.backend.clear_session()
    gc.collect()


def _forget_custom_gradients() -> None:
    """Lets go of graphs that TensorFlow keeps for the life of the process, with all their variables.

    A custom gradient that was traced, such as the one of the sum over replicas in every Keras optimizer,
    stays registered by name, and its closure holds the graph.
    """
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Every test starts from the same seed, whatever ran before it."""
    keras.utils.set_random_seed(0)
