"""Which devices a run takes by itself; the GPUs are made up of this machine's logical devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf

from tf_simclrv2.config import RunConfig
from tf_simclrv2.distribution import strategy as strategies
from tf_simclrv2.distribution.strategy import make_strategy


def _devices() -> list:
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`gpus(1, 3)`: the second and the fourth logical device are GPUs, beside one CPU."""

    devices = _devices()

    def make_up(*numbers: int) -> None:
        found = {"GPU": [devices[number] for number in numbers], "CPU": devices[:1]}
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found[kind])
        monkeypatch.setattr(strategies, "unused_gpus", lambda: "")

    return make_up


@pytest.mark.parametrize("numbers", [(0, 1), (0, 1, 2, 3)])
def test_a_run_takes_all_gpus(gpus: Callable[..., None], numbers: tuple[int, ...]) -> None:
    gpus(*numbers)
    made = make_strategy(RunConfig())
    assert isinstance(made, tf.distribute.MirroredStrategy)
    devices = map(tf.DeviceSpec.from_string, made.extended.worker_devices)
    assert [device.device_index for device in devices] == list(numbers)


def test_batches_are_on_the_only_gpu_before_a_step(gpus: Callable[..., None]) -> None:
    """The default strategy would leave the copying to the step."""
    gpus(1)
    made = make_strategy(RunConfig())
    assert made.num_replicas_in_sync == 1
    batches = made.distribute_datasets_from_function(lambda context: tf.data.Dataset.range(8).batch(4))
    for batch in batches:
        assert batch.device.endswith("PU:1")


def test_a_cpu_needs_no_strategy(gpus: Callable[..., None]) -> None:
    gpus()
    assert make_strategy(RunConfig()) is tf.distribute.get_strategy()
