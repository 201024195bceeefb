"""Tests of what JAX and libtpu compile are collected where these are installed: `make rehearse-test`."""

import importlib.util
import os

from tests.small_network import small_network as small_network

NEED_COMPILER = ["test_compiler.py", "test_numerics.py"]
_INSTALLED = all(importlib.util.find_spec(name) for name in ("jax", "libtpu"))
collect_ignore = [] if _INSTALLED else NEED_COMPILER

# As many CPUs as cores that are compared; JAX reads it when it starts.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"
