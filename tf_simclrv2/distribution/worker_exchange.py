"""Exchanges small numbers between the workers of a run, so that all take the same decision."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.distribution.strategy import input_workers
from tf_simclrv2.errors import RunError


class WorkerExchange:
    """Exchanges small numbers between the workers of a strategy.

    All workers must make the same calls in the same order; each call waits for all of them. With a single
    worker, every call returns at once.

    Args:
        strategy: The strategy of the run.

    Attributes:
        workers: The number of workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.workers = input_workers(strategy)
        self._strategy = strategy
        self._summed = tf.function(self._sum)

    def any(self, mine: bool) -> bool:
        """Returns whether any worker passed True."""
        return self.sum(int(mine)) > 0

    def sum(self, mine: int) -> int:
        """Returns the sum of all workers' numbers."""
        return sum(self.each(mine))

    def each(self, mine: int) -> list[int]:
        """Returns all workers' numbers, in the order of the cluster."""
        if self.workers == 1:
            return [mine]
        numbers = self._summed(tf.constant(mine, tf.int64))
        return [int(number) for number in self._strategy.experimental_local_results(numbers)[0]]

    def meet(self) -> None:
        """Waits until all workers have made this call."""
        self.each(0)

    def refuse_different(self, what: str, mine: int) -> None:
        """Refuses to continue if the workers do not all pass the same number.

        Raises:
            RunError: The numbers differ; every worker raises it.
        """
        numbers = self.each(mine)
        if len(set(numbers)) > 1:
            seen = ", ".join(map(str, numbers))
            raise RunError(
                f"the workers see {what} {seen}, in cluster order; give all the same flags and the "
                "same model_dir, on a filesystem that they share."
            )

    def _sum(self, mine: tf.Tensor) -> tf.Tensor:
        return self._strategy.run(self._replica_sum, args=(mine,))

    def _replica_sum(self, mine: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        local = context.num_replicas_in_sync // self.workers
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        # The first replica of each worker contributes its number.
        slot = tf.one_hot(replica // local, self.workers, dtype=tf.int64)
        first = tf.cast(replica % local == 0, tf.int64)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, slot * first * mine)
