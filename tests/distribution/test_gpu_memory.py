"""What is told of the memory of GPUs, which are made up here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

from tf_simclrv2.distribution.gpu_memory import MEGABYTE, GpuMemory, gpu_memory

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
