"""The inner loop of training: Orbit's trainer around a task's `train_step`."""

from __future__ import annotations

import orbit
import tensorflow as tf

from tf_simclrv2.data import SkippedImages
from tf_simclrv2.distribution.collectives import cross_replica_concat, cross_replica_mean
from tf_simclrv2.distribution.compilation import compiled
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.interruptions.stop_flag import StopFlag
from tf_simclrv2.training.performance import Performance

_NEVER = -1
KEY_NAMES = ("key", "labeled_key")


class Trainer(orbit.StandardTrainer):
    """Runs a task's step over a distributed dataset, and keeps what a resumed run must know.

    Args:
        task: A compiled task, made in the strategy's scope, in which this is made too.
        dataset: Distributed batches with a `key` in each.
        strategy: The strategy.
        skipped: The unreadable images, whose number is reported with the losses.
        exchange: Adds up what the workers have skipped; None for a process alone.
        performance: Measures the loops, made outside the strategy's scope; by default the wait for data is
            not measured.
        stop: Ends a loop after the step that it is at; None lets every loop run to its end.

    Attributes:
        positions: Key of the next example of each stream of a batch (`key`, `labeled_key`), from which a
            resumed run continues. Part of the checkpoint.
        bad_step: The first step whose loss was not finite, or -1.
    """

    def __init__(
        self,
        task: Task,
        dataset: tf.data.Dataset,
        strategy: tf.distribute.Strategy,
        skipped: SkippedImages | None = None,
        exchange: WorkerExchange | None = None,
        performance: Performance | None = None,
        stop: StopFlag | None = None,
    ) -> None:
        super().__init__(dataset)
        self.stop = stop
        self.task = task
        self.exchange = exchange
        self.skipped = skipped
        self.strategy = strategy
        self.positions = {name: self._counter(name, 0) for name in KEY_NAMES}
        self.bad_step = self._counter("bad_step", _NEVER)
        self.performance = performance or Performance(task.config.images_per_step, clock=False)
        self._compiled_step = compiled(self.replica_step, task.compile_mode)

    @staticmethod
    def _counter(name: str, value: int) -> tf.Variable:
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return tf.Variable(value, dtype=tf.int64, trainable=False, name=name, aggregation=first)

    @property
    def first_bad_step(self) -> int | None:
        """The first step whose loss was not finite; None if there was none."""
        step = int(self.bad_step.numpy())
        return None if step == _NEVER else step

    def train_loop_begin(self) -> None:
        for metric in self.task.metrics:
            metric.reset_state()
        self.performance.begin(self._step)

    @property
    def _step(self) -> int:
        return int(self.task.global_step.numpy())

    def create_train_loop_fn(self):
        """Makes Orbit's loop, or one that ends when it is asked to stop."""
        stop = self.stop
        if stop is None:
            return super().create_train_loop_fn()

        @tf.function
        def run_loop(iterator, num_steps: tf.Tensor) -> None:
            i = tf.constant(0)
            while (i < num_steps) and not stop.is_set():  # AutoGraph makes an op of it.
                with tf.name_scope(""):  # As in Orbit: the ops' names do not begin with the loop's.
                    self.train_step(iterator)
                i += 1

        return run_loop

    def train_step(self, iterator) -> None:
        self.strategy.run(self._compiled_step, args=(self.performance.next_batch(iterator),))

    def replica_step(self, batch: dict[str, tf.Tensor]) -> None:
        """Runs one replica's part of a step: all that is compiled."""
        step = tf.cast(self.task.global_step, tf.int64)
        means = self.task.train_step(batch)
        for name, position in self.positions.items():
            if name in batch:
                position.assign(1 + tf.reduce_max(cross_replica_concat(batch[name])))
        # A mean of several steps that is no longer finite became so in this one, if it was before.
        fails_now = ~tf.math.is_finite(cross_replica_mean(means["total_loss"])) & (self.bad_step == _NEVER)
        self.bad_step.assign(tf.where(fails_now, step, self.bad_step))

    def train_loop_end(self) -> dict[str, tf.Tensor]:
        means = {f"train/{name}": mean.result() for name, mean in self.task.train_means.items()}
        with self.strategy.scope():
            means |= {f"train/{name}": value for name, value in self.task.gauges().items()}
        if self.skipped is not None:
            count = self.skipped.count
            count = self.exchange.sum(count) if self.exchange else count
            means["train/skipped_images"] = tf.constant(float(count))
        speed = {tag: tf.constant(value) for tag, value in self.performance.end(self._step).items()}
        return {**means, **speed, "learning_rate": self.task.optimizer.learning_rate}
