"""What is told of the memory of GPUs, which are made up here."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from tf_simclrv2.distribution.gpu_memory import MEGABYTE, GpuMemory, card_mb, gpu_memory

INFO = {
    "GPU:0": {"current": 300 * MEGABYTE, "peak": 900 * MEGABYTE},
    "GPU:1": {"current": 500 * MEGABYTE, "peak": 700 * MEGABYTE},
}


def test_without_a_gpu_nothing_is_told() -> None:
    assert gpu_memory() is None


def test_the_gpu_that_is_used_most_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [SimpleNamespace(name=f"/device:{name}") for name in INFO]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", INFO.__getitem__)
    assert gpu_memory() == GpuMemory(now_mb=500.0, peak_mb=900.0)


class Cuda:
    """The driver's library, with one card, or with a call that fails."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def cuInit(self, flags: int) -> int:
        return 803 * (self.failing == "cuInit")

    def cuDeviceGet(self, device: Any, number: int) -> int:
        assert number == 0
        device._obj.value = 7
        return 100 * (self.failing == "cuDeviceGet")

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        assert device.value == 7
        size._obj.value = 80 * 1024 * MEGABYTE
        return 1 * (self.failing == "cuDeviceTotalMem_v2")


def test_the_driver_tells_the_memory_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Cuda())
    assert card_mb() == 80 * 1024
    for call in ("cuInit", "cuDeviceGet", "cuDeviceTotalMem_v2"):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, call=call: Cuda(call))
        assert card_mb() is None


def test_without_a_driver_nothing_is_told_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert card_mb() is None
