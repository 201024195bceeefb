"""What is set for the whole process before a run's network is built."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
import tensorflow as tf

from tests.training.small_runs import config_for
from tf_simclrv2.training.preparation import prepare


@pytest.fixture(params=[True, False])
def tf32(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether TensorFloat-32 is allowed before."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(request.param)
    yield request.param
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize("asked", ["default", "on", "off"])
def test_tf32_is_as_asked(tmp_path: pathlib.Path, tf32: bool, asked: str) -> None:
    prepare(config_for(tmp_path, tf32=asked), tf.distribute.get_strategy(), lambda line: None)
    expected = {"default": tf32, "on": True, "off": False}[asked]
    assert tf.config.experimental.tensor_float_32_execution_enabled() == expected
