"""A driver with GPUs that TensorFlow does not see; both are made up here."""

from __future__ import annotations

import ctypes
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from tf_simclrv2 import RunConfig, RunError
from tf_simclrv2.distribution import driver
from tf_simclrv2.distribution.driver import gpus_of_driver, unused_gpus
from tf_simclrv2.distribution.strategy import make_strategy

BROKEN = 803


class Cuda:
    """The driver's library."""

    def __init__(self, code: int) -> None:
        self.code = code

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuGetErrorName(self, code: int, name: Any) -> None:
        name._obj.value = b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"


@pytest.fixture
def eight_gpus(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Eight device nodes, and the libraries that are named."""
    for number in range(8):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(driver, "DEVICE_NODES", str(tmp_path / "nvidia[0-9]*"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.setattr(
        tf.sysconfig, "get_build_info", lambda: {"cuda_version": "12.5.1", "cudnn_version": "9"}
    )

    def install(*libraries: str, code: int = 0) -> None:
        def load(name: str) -> Any:
            if name not in libraries:
                raise OSError(f"{name}: cannot open shared object file")
            return Cuda(code) if name == "libcuda.so.1" else SimpleNamespace()

        monkeypatch.setattr(ctypes, "CDLL", load)

    return install


CUDA = ("libcuda.so.1", "libcudart.so.12", "libcublas.so.12")
CASES = {
    "no driver": ((), {}, "the driver's library libcuda.so.1 cannot be loaded"),
    "a broken driver": (CUDA, {"code": BROKEN}, "does not start (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH; check"),
    "no cuDNN": (CUDA, {}, "libcudnn.so.9 cannot be loaded (install tensorflow[and-cuda])"),
    "no CUDA": (CUDA[:1], {}, "libcudart.so.12 cannot be loaded"),
    "something else": ((*CUDA, "libcudnn.so.9"), {}, "one of CUDA's libraries does not fit"),
}


@pytest.mark.parametrize(("libraries", "options", "reason"), CASES.values(), ids=CASES)
def test_the_reason_is_named(
    eight_gpus: Callable, libraries: tuple[str, ...], options: dict, reason: str
) -> None:
    eight_gpus(*libraries, **options)
    sentence = unused_gpus()
    assert sentence.startswith("8 GPU(s) are visible to the driver, but TensorFlow sees none, because ")
    assert reason in sentence and "CUDA_VISIBLE_DEVICES='' uses the CPU" in sentence
    with pytest.raises(RunError) as refused:
        make_strategy(RunConfig())
    assert str(refused.value) == sentence


def test_a_build_without_cuda(eight_gpus: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    eight_gpus()
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    assert "because it is built without CUDA" in unused_gpus()


def test_a_gpu_that_is_not_there(eight_gpus: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    eight_gpus(*CUDA, code=100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9")
    assert "because CUDA_VISIBLE_DEVICES is '9', which names none of them" in unused_gpus()


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_gpus_are_not_missed(
    eight_gpus: Callable, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert unused_gpus() == ""
    assert make_strategy(RunConfig()).num_replicas_in_sync >= 1


def test_gpus_in_use_are_not_missed(eight_gpus: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert unused_gpus() == ""


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H100 (UUID: GPU-2)'", 2),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", 0),
        ("echo 'No devices found.'", 0),
    ],
)
def test_without_nodes_nvidia_smi_is_asked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str, count: int
) -> None:
    monkeypatch.setattr(driver, "DEVICE_NODES", str(tmp_path / "nothing*"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpus_of_driver() == 0  # There is no such program here.
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpus_of_driver() == count
