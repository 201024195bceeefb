"""Which examples of the global batches a process makes, so that none is decoded twice."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """The part that one worker has in every global batch.

    A global batch is divided among the replicas in their order, and a worker makes the rows of its own
    replicas, a batch for each. So all workers together make what one process would.

    Attributes:
        workers: Processes that make batches.
        worker: Which of them this is.
        replicas: Replicas of all workers.

    Example:
        >>> mine = Share(workers=2, worker=1, replicas=4)
        >>> list(mine.of(tf.data.Dataset.range(16), 8).as_numpy_iterator()), mine.batch_size(8)
        ([4, 5, 6, 7, 12, 13, 14, 15], 2)
    """

    workers: int = 1
    worker: int = 0
    replicas: int = 1

    @classmethod
    def of_context(cls, context: tf.distribute.InputContext) -> Share:
        """Returns the share that a strategy's `distribute_datasets_from_function` asks for."""
        return cls(context.num_input_pipelines, context.input_pipeline_id, context.num_replicas_in_sync)

    def batch_size(self, global_batch_size: int) -> int:
        """Returns the rows of a replica."""
        return global_batch_size // self.replicas

    def rows(self, global_batch_size: int) -> int:
        """Returns the rows of this worker."""
        return global_batch_size // self.workers

    def of(self, stream: tf.data.Dataset, global_batch_size: int) -> tf.data.Dataset:
        """Selects this worker's elements of a stream of single records."""
        if self.workers == 1:
            return stream
        rows = self.rows(global_batch_size)

        def is_mine(position: tf.Tensor, element: object) -> tf.Tensor:
            return position % global_batch_size // rows == self.worker

        return stream.enumerate().filter(is_mine).map(lambda position, element: element)
