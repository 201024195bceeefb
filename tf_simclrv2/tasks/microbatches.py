"""Microbatches: a batch is split into parts, which are processed one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from tf_simclrv2.distribution.collectives import num_replicas
from tf_simclrv2.distribution.devices import on_tpu

State = TypeVar("State")


class Microbatches:
    """Splits this replica's batch into parts of equal size.

    Part i holds every `count`-th example, starting with the i-th. Replicas hold consecutive examples, so part
    i of all replicas together holds the same examples whatever the number of replicas.

    Args:
        batch: A dict of tensors [n, ...]. Each leading axis must be a multiple of `count`; they may differ.
        count: Number of parts.

    Example:
        >>> parts = Microbatches({"image": tf.zeros([8, 32, 32, 3])}, 4)
        >>> parts[0]["image"].shape
        TensorShape([2, 32, 32, 3])
    """

    def __init__(self, batch: dict[str, tf.Tensor], count: int) -> None:
        self.count = count
        self._columns = {name: _columns(tensor, count) for name, tensor in batch.items()}

    def __getitem__(self, i: tf.Tensor | int) -> dict[str, tf.Tensor]:
        return {name: column[:, i] for name, column in self._columns.items()}

    def fold(self, step: Callable[[tf.Tensor, State], State], state: State) -> State:
        """Processes the parts one after the other, so that the activations of only one are in memory.

        Args:
            step: Maps the number of a part and the state before it to the state after it.
            state: The state before the first part: tensors, in any nesting.

        Returns:
            The state after the last part.
        """
        if _loops_can_sum_over_replicas():
            return self._loop(step, state)

        def loop_over_all_replicas(strategy: tf.distribute.Strategy, steps: Any, states: Any) -> Any:
            def on_all_replicas(i: tf.Tensor, states: Any) -> Any:
                return strategy.run(lambda step, state: step(i, state), args=(steps, states))

            return self._loop(on_all_replicas, states)

        return tf.distribute.get_replica_context().merge_call(loop_over_all_replicas, args=(step, state))

    def _loop(self, step: Callable[[tf.Tensor, Any], Any], state: Any) -> Any:
        return tf.while_loop(
            lambda i, state: i < self.count,
            lambda i, state: (i + 1, step(i, state)),
            (tf.constant(0), state),
            maximum_iterations=self.count,
            parallel_iterations=1,
        )[1]


def _columns(tensor: tf.Tensor, count: int) -> tf.Tensor:
    """Reshapes [n, ...] to [n / count, count, ...]."""
    return tf.reshape(tensor, tf.concat([[-1, count], tf.shape(tensor)[1:]], axis=0))


def join_views(parts: tf.Tensor) -> tf.Tensor:
    """Joins rows of two views that were computed in parts, in the order of the whole batch.

    Args:
        parts: [count, 2m, D]: in each part all first views, then all second views.

    Returns:
        [2 · m · count, D]: all first views, then all second views.
    """
    count, rows, width = tf.unstack(tf.shape(parts))
    by_view = tf.reshape(parts, [count, 2, rows // 2, width])
    return tf.reshape(tf.transpose(by_view, [1, 2, 0, 3]), [count * rows, width])


def _loops_can_sum_over_replicas() -> bool:
    """Returns whether each replica may have a loop of its own.

    On GPUs and CPUs a sum over replicas merges the replicas' threads, which TensorFlow does not allow within
    the loop of one of them. There, one loop runs the part of every replica.
    """
    return num_replicas() == 1 or on_tpu()
