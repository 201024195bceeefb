"""The collectives under the losses and batch norm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.distribution.collectives import (
    cross_replica_concat,
    cross_replica_mean,
    num_replicas,
    replica_id,
)

X = np.random.default_rng(8).standard_normal((8, 3))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_concatenation_is_in_replica_order_and_equal_everywhere(replicas: Callable, count: int) -> None:
    def step(x: tf.Tensor) -> tuple:
        return cross_replica_concat(x), tf.constant(num_replicas()), tf.convert_to_tensor(replica_id())

    for i, (gathered, counted, index) in enumerate(replicas(count).run(step, X)):
        np.testing.assert_array_equal(gathered, X)
        assert (counted, index) == (count, i)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_integers_of_64_bits_are_joined_exactly(replicas: Callable, count: int) -> None:
    keys = np.array([0, 1, -1, 2**31, 2**40 + 3, -(2**62), 2**63 - 1, 7])
    for joined in replicas(count).run(cross_replica_concat, keys):
        np.testing.assert_array_equal(joined, keys)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_gradient_sums_what_every_replica_owes(replicas: Callable, count: int) -> None:
    """Replica r weighs all rows by r + 1, so each row is owed 1 + 2 + … of them."""

    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            weight = tf.cast(replica_id() + 1, x.dtype)
            objective = tf.reduce_sum(cross_replica_concat(x) ** 2) * weight
        return tape.gradient(objective, x)

    spread = replicas(count)
    gradient = spread.join(spread.run(step, X))
    np.testing.assert_allclose(gradient, 2 * X * sum(range(1, count + 1)), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_mean_is_that_of_the_replicas(replicas: Callable, count: int) -> None:
    spread = replicas(count)
    expected = np.mean(spread.share(X), axis=0)
    for mean in spread.run(cross_replica_mean, X):
        np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_outside_replicas_there_is_nothing_to_gather(strategy: Callable) -> None:
    x = tf.constant(X)
    with strategy(2).scope():  # a cross-replica context
        assert cross_replica_concat(x) is x
        assert cross_replica_mean(x) is x
        assert replica_id() == 0
