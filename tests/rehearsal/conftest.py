"""Tests of what JAX and libtpu compile are collected where these are installed: `make rehearse-test`."""

import importlib.util
import os

import pytest

from tests.programs import SMALL_PROGRAM
from tests.small_network import small_network as small_network
from tf_simclrv2.rehearsal import traced_step, tracing_process

NEED_COMPILER = ["test_compiler.py", "test_numerics.py"]
_INSTALLED = all(importlib.util.find_spec(name) for name in ("jax", "libtpu"))
collect_ignore = [] if _INSTALLED else NEED_COMPILER

# As many CPUs as cores that are compared; JAX reads it when it starts.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"


@pytest.fixture(autouse=True)
def small_network_in_the_other_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are traced in a process of their own."""
    monkeypatch.setattr(traced_step, "_PROGRAM", ("-P", *SMALL_PROGRAM, tracing_process.__name__))
