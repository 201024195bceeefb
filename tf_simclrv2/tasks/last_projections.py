"""The projections of the last step, kept for the measures that are computed when a loop ends."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat


class LastProjections:
    """Keeps each replica's projections of the last step.

    A step only writes them; measures of collapse, which take long, are computed later and only when they are
    logged. Create it in the strategy's scope. It is not part of a checkpoint.

    Args:
        rows: A replica's rows 2n: all first views, then all second views.
        width: Width D of a projection.
        dtype: `float32` or `float64`.

    Attributes:
        kept: Whether there are any.
    """

    def __init__(self, rows: int, width: int, dtype: str) -> None:
        self.kept = False
        self._strategy = tf.distribute.get_strategy()
        self._z = tf.Variable(
            tf.zeros([rows, width], dtype),
            trainable=False,
            name="last_projections",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._gather = tf.function(self._run_gather, autograph=False)

    def fits(self, z: tf.Tensor) -> bool:
        """Returns whether `z` has the shape that is kept: `fit` may use another batch size."""
        return z.shape == self._z.shape

    def keep(self, z: tf.Tensor) -> None:
        """Stores this replica's projections, [2n, D]; part of the graph of a step."""
        self._z.assign(tf.cast(tf.stop_gradient(z), self._z.dtype))
        self.kept = True  # Of a step that is only traced, too, but such a step is about to run.

    def of_all_replicas(self) -> tf.Tensor:
        """Returns the projections of the global batch, [2N, D]: all first views, then all second views."""
        return self._strategy.experimental_local_results(self._gather())[0]

    def _run_gather(self) -> tf.Tensor:  # TPUStrategy refuses a lambda: it needs the name of what it runs in.
        return self._strategy.run(self._gather_views)

    def _gather_views(self) -> tf.Tensor:
        views = tf.split(tf.convert_to_tensor(self._z), 2)
        return tf.concat([cross_replica_concat(view) for view in views], axis=0)
