"""The accuracy of a network's own classifier on a whole split."""

from __future__ import annotations

import orbit
import tensorflow as tf

from tf_simclrv2.progress import Progress
from tf_simclrv2.tasks import Task


class ClassificationEvaluator(orbit.StandardEvaluator):
    """Runs the `test_step` of a task over a split, under Orbit's controller.

    Args:
        task: The compiled task; its evaluation metrics are reset first.
        dataset: Distributed batches of `image`, `label` and `mask`.
        strategy: The strategy that the task was built under.
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
        """Advances the progress: Orbit calls this outside the graph, after each step."""
        self.progress.advance()

    def eval_end(self) -> dict[str, float]:
        """Returns the means by name, without those that saw no example, as accuracies of unlabeled images."""
        return {
            f"eval/{name}": float(mean.result())
            for name, mean in self.task.eval_means.items()
            if float(tf.convert_to_tensor(mean.count.value))  # Of all replicas.
        }
