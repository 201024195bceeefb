"""What a step that is only compiled says to its compiler."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.distribution.collectives import cross_replica_concat, cross_replica_mean, replica_id
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy


def _program(strategy: tf.distribute.Strategy, step, *shapes) -> str:
    traced = tf.function(lambda *x: strategy.run(step, x), autograph=False, jit_compile=True)
    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in shapes]
    return traced.experimental_get_compiler_ir(*specs)(stage="stablehlo")


@pytest.mark.parametrize("cores", [1, 8, 32])
def test_there_are_as_many_replicas_as_cores(cores: int) -> None:
    strategy = CompileOnlyStrategy(cores)
    assert strategy.num_replicas_in_sync == cores
    with strategy.scope():
        assert devices.on_tpu() and not devices.on_cpu() and not devices.on_gpu()
    assert not devices.on_tpu()


@pytest.mark.parametrize("exchange", [cross_replica_concat, cross_replica_mean])
def test_every_exchange_is_a_sum_over_all_cores(exchange) -> None:
    text = _program(CompileOnlyStrategy(4), exchange, ([2, 3], tf.float32))
    assert len(re.findall("stablehlo.all_reduce", text)) == 1
    assert re.search(r"replica_groups = dense<\[\[0, 1, 2, 3\]\]>", text)


def test_the_gradient_of_a_sum_is_a_sum() -> None:
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(cross_replica_concat(x) ** 2)
        return tape.gradient(loss, x)

    text = _program(CompileOnlyStrategy(4), step, ([2, 3], tf.float32))
    assert len(re.findall("stablehlo.all_reduce", text)) == 2


def test_the_index_of_a_core_is_known_only_on_the_core() -> None:
    text = _program(CompileOnlyStrategy(4), lambda x: x + tf.cast(replica_id(), tf.float32), ([], tf.float32))
    assert "stablehlo.replica_id" in text


def test_integers_of_64_bits_are_joined_by_a_sum_that_a_tpu_can_make() -> None:
    """Keys, of which there is one for every image that was ever seen."""
    text = _program(CompileOnlyStrategy(2), cross_replica_concat, ([4], tf.int64))
    assert re.search(r"\(tensor<2x4x2xi32>\) -> tensor<2x4x2xi32>", text)


def test_types_that_a_tpu_cannot_sum_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        _program(CompileOnlyStrategy(2), cross_replica_mean, ([2], tf.float64))


def test_keras_optimizers_sum_gradients_and_update_once() -> None:
    import keras

    strategy = CompileOnlyStrategy(2)
    with strategy.scope():
        weight = keras.Variable(np.ones([3, 5], "float32"))
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build([weight])
    text = _program(strategy, lambda g: optimizer.apply([g], [weight]), ([3, 5], tf.float32))
    assert len(re.findall("stablehlo.all_reduce", text)) == 1
    # New values: of the weight, its momentum and the count of steps.
    assert len(re.findall("output_index", text)) == 3
