"""What the package expects of private names. A failure says what a new release asks for."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.models.private_api import layers_within, run_for_all_replicas

ADVICE = {
    "layers": (
        "`keras.Layer._flatten_layers` has changed. Walk the layers another way in `layers_within`, in "
        "tf_simclrv2/models/private_api.py: every layer that is an attribute, or in a list that is one."
    ),
    "replicas": (
        "`tf.__internal__.distribute.interim.maybe_merge_call` has changed. See how Keras applies an update "
        "(`_backend_update_step` in keras/src/backend/tensorflow/optimizer.py), and do the same in "
        "`run_for_all_replicas`, in tf_simclrv2/models/private_api.py."
    ),
}


class _Nested(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__(name="nested")
        self.single = keras.layers.Dense(2, name="single")
        self.several = [keras.layers.Dense(2, name="first"), keras.layers.Dense(2, name="second")]
        self.again = self.single


def test_layers_are_found_at_any_depth_and_once() -> None:
    outer = keras.layers.Layer(name="outer")
    outer.inner = _Nested()
    try:
        names = sorted(layer.name for layer in layers_within(outer))
    except AttributeError as error:
        pytest.fail(f"{ADVICE['layers']} ({error})")
    assert names == ["first", "nested", "outer", "second", "single"], ADVICE["layers"]
    assert layers_within(outer.inner.single) == [outer.inner.single], ADVICE["layers"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_variable_is_updated_once_for_all_replicas(replicas: Callable, count: int) -> None:
    spread = replicas(count)
    with spread.scope():
        variable = tf.Variable(1.0)
    calls = []

    def update(strategy: tf.distribute.Strategy) -> None:
        calls.append(strategy)
        strategy.extended.update(variable, lambda v: v.assign_add(1.0), group=False)

    def step(x: tf.Tensor) -> tf.Tensor:
        run_for_all_replicas(update)
        return x

    try:
        spread.run(step, np.zeros(4, np.float32))
    except AttributeError as error:
        pytest.fail(f"{ADVICE['replicas']} ({error})")
    assert calls == [spread.strategy], ADVICE["replicas"]
    values = spread.strategy.experimental_local_results(variable)
    assert [float(value) for value in values] == [2.0] * count, ADVICE["replicas"]
