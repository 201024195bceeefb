"""The accuracy of a network's own classifier on a whole split."""

from __future__ import annotations

import numpy as np
import orbit
import tensorflow as tf

from tf_simclrv2.distribution.compilation import compiled
from tf_simclrv2.evaluation.class_accuracy import BALANCED, ClassAccuracy
from tf_simclrv2.progress import Progress
from tf_simclrv2.tasks import Task


class ClassificationEvaluator(orbit.StandardEvaluator):
    """Runs the `test_step` of a task over a split, under Orbit's controller.

    Args:
        task: The compiled task, with a classifier; its evaluation metrics are reset first.
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
        self._compiled_step = compiled(self._replica_step, task.compile_mode)

    def eval_begin(self) -> None:
        for metric in (*self.task.eval_means.values(), self.task.class_counts):
            metric.reset_state()

    def eval_step(self, iterator) -> None:
        self.strategy.run(self._compiled_step, args=(next(iterator),))

    def _replica_step(self, batch: dict[str, tf.Tensor]) -> None:
        self.task.test_step(batch)

    def eval_reduce(self, state: None = None, step_outputs: None = None) -> None:
        """Advances the progress: Orbit calls this outside the graph, after each step."""
        self.progress.advance()

    def eval_end(self) -> dict[str, float]:
        """Returns the means by name, without those that saw no example, as accuracies of unlabeled images."""
        means = {
            f"eval/{name}": float(mean.result())
            for name, mean in self.task.eval_means.items()
            if float(tf.convert_to_tensor(mean.count.value))  # Of all replicas.
        }
        accuracy = self.class_accuracy
        return {**means, **({f"eval/{BALANCED}": accuracy.balanced} if accuracy else {})}

    @property
    def class_accuracy(self) -> ClassAccuracy | None:
        """Right answers by class; None if no image had a label."""
        counts = self.task.class_counts
        right, images = (
            tf.convert_to_tensor(counter.value).numpy().round().astype(np.int64)  # Of all replicas.
            for counter in (counts.right, counts.images)
        )
        return ClassAccuracy(right, images) if images.any() else None
