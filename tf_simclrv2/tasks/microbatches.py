"""A batch in parts: how it is cut, and how parts are gone through one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from tf_simclrv2.distribution.collectives import num_replicas
from tf_simclrv2.distribution.devices import on_tpu

State = TypeVar("State")


class Microbatches:
    """This replica's batch, cut into parts of equal size.

    Part i holds every `count`-th example from the i-th on. Replicas hold consecutive examples, so the parts
    of all replicas together are the same examples, whatever the number of replicas.

    Args:
        batch: A dict of tensors [n, ...] whose leading axes, which may differ, `count` divides.
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
        """Goes through the parts, one at a time, so that memory is needed for one at a time.

        Args:
            step: The number of the part and the state before it to the state after it.
            state: The state before the first part: tensors, in any nesting.

        Returns:
            The state after the last part.
        """
        if _loops_can_sum_over_replicas():
            return tf.while_loop(
                lambda i, state: i < self.count,
                lambda i, state: (i + 1, step(i, state)),
                (tf.constant(0), state),
                maximum_iterations=self.count,
                parallel_iterations=1,
            )[1]
        for i in range(self.count):
            # Without an order the parts would be computed, and held in memory, at the same time.
            with tf.control_dependencies([tf.group(*tf.nest.flatten(state))]):
                state = step(tf.constant(i), state)
        return state


def _columns(tensor: tf.Tensor, count: int) -> tf.Tensor:
    """[n, ...] to [n / count, count, ...]."""
    return tf.reshape(tensor, tf.concat([[-1, count], tf.shape(tensor)[1:]], axis=0))


def join_views(parts: tf.Tensor) -> tf.Tensor:
    """Rows of two views computed in parts, in the order of the whole batch.

    Args:
        parts: [count, 2m, D], of each part all first views before all second ones.

    Returns:
        [2 · m · count, D], all first views before all second ones.
    """
    count, rows, width = tf.unstack(tf.shape(parts))
    by_view = tf.reshape(parts, [count, 2, rows // 2, width])
    return tf.reshape(tf.transpose(by_view, [1, 2, 0, 3]), [count * rows, width])


def _loops_can_sum_over_replicas() -> bool:
    """On GPUs and CPUs a sum merges the replicas' threads, which a loop in the graph does not allow."""
    return num_replicas() == 1 or on_tpu()
