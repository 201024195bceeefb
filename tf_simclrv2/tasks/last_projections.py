"""The projections of the last step, kept so that they can be looked at where a loop ends."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat


class LastProjections:
    """Each replica's projections of the last step: one write a step, whatever is computed of them later.

    Make it in the strategy's scope. It is not part of a checkpoint.

    Args:
        rows: 2n, a replica's rows: all first views, then all second ones.
        width: D.
        dtype: `float32` or `float64`.
    """

    def __init__(self, rows: int, width: int, dtype: str) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._z = tf.Variable(
            tf.zeros([rows, width], dtype),
            trainable=False,
            name="last_projections",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._gather = tf.function(lambda: self._strategy.run(self._gather_views), autograph=False)

    def fits(self, z: tf.Tensor) -> bool:
        """Whether this many rows can be kept; `fit` may be given another batch than the config's."""
        return z.shape == self._z.shape

    def keep(self, z: tf.Tensor) -> None:
        """Keeps this replica's projections, [2n, D]; part of the graph of a step."""
        self._z.assign(tf.cast(tf.stop_gradient(z), self._z.dtype))

    def of_all_replicas(self) -> tf.Tensor:
        """The projections of the global batch, [2N, D]: all first views, then all second ones."""
        return self._strategy.experimental_local_results(self._gather())[0]

    def _gather_views(self) -> tf.Tensor:
        views = tf.split(tf.convert_to_tensor(self._z), 2)
        return tf.concat([cross_replica_concat(view) for view in views], axis=0)
