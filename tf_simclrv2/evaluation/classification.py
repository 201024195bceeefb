"""Accuracy of the network's own classifier over a whole split."""

from __future__ import annotations

import orbit
import tensorflow as tf

from tf_simclrv2.progress import Progress
from tf_simclrv2.tasks import Task


class ClassificationEvaluator(orbit.StandardEvaluator):
    """Orbit's evaluator around a task's `test_step`.

    Args:
        task: The task; its evaluation metrics are reset and filled.
        dataset: Distributed batches of `image`, `label` and `mask`.
        strategy: The strategy.
        progress: Advances with each batch.
    """

    def __init__(
        self,
        task: Task,
        dataset: tf.data.Dataset,
        strategy: tf.distribute.Strategy,
        progress: Progress,
    ) -> None:
        super().__init__(dataset)
        self.task = task
        self.strategy = strategy
        self.progress = progress

    def eval_begin(self) -> None:
        for metric in self.task.eval_means.values():
            metric.reset_state()

    def eval_step(self, iterator) -> None:
        self.strategy.run(self._replica_step, args=(next(iterator),))

    def _replica_step(self, batch: dict[str, tf.Tensor]) -> None:
        self.task.test_step(batch)

    def eval_reduce(self, state: None = None, step_outputs: None = None) -> None:
        """Orbit calls this outside the graph, after each step; metrics hold the state."""
        self.progress.advance()

    def eval_end(self) -> dict[str, float]:
        """The means; none of what was never seen, such as the accuracy of images without a label."""
        return {
            f"eval/{name}": float(mean.result())
            for name, mean in self.task.eval_means.items()
            if float(tf.convert_to_tensor(mean.count.value))  # Of all replicas.
        }
