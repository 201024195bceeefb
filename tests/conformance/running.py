"""A stage of the matrix, on some replicas, ready to take steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.conformance.descriptors import Stage
from tf_simclrv2.distribution.collectives import num_replicas, replica_id
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.model_dir.checkpoints import training_checkpoint
from tf_simclrv2.training.trainer import Trainer


class Running:
    """A stage on some replicas: its task, and its step, traced."""

    def __init__(
        self,
        stage: Stage,
        spread: Any,
        precision: str = "float64",
        jit: bool = False,
        poison: tf.Variable | None = None,
    ) -> None:
        self.strategy = spread.strategy
        with spread.scope():
            self.task = stage.task(precision)
            if poison is not None:
                _poison_last_replica(self.task, poison)
            trainer = Trainer(self.task, None, self.strategy)
            self.checkpoint = training_checkpoint(self.task, position=trainer.positions)
        self._batch = {name: spread.distribute(array) for name, array in stage.batch(precision).items()}

        def step(batch: Any) -> None:
            # On one replica this calls the step as it is, which can then be compiled whole.
            self.strategy.run(trainer.replica_step, (batch,))

        self.traced = tf.function(step, jit_compile=jit).get_concrete_function(self._batch)

    def step(self) -> None:
        self.traced(self._batch)

    @property
    def logs(self) -> dict[str, float]:
        return {name: float(mean.result()) for name, mean in self.task.train_means.items()}

    @property
    def gauges(self) -> dict[str, float]:
        with self.strategy.scope():
            return {name: float(value) for name, value in self.task.gauges().items()}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that training changes, by path."""
        return {path: np.asarray(variable) for path, variable in self._variables.items()}

    @property
    def copies(self) -> dict[str, list[np.ndarray]]:
        """The same, as every replica has it."""
        return {
            path: [copy.numpy() for copy in self.strategy.experimental_local_results(variable.value)]
            for path, variable in self._variables.items()
        }

    @property
    def _variables(self) -> dict[str, keras.Variable]:
        optimizer = named_variables(self.task.optimizer)
        return {
            **named_variables(self.task.network),
            **{f"optimizer/{path}": variable for path, variable in optimizer.items()},
            **{f"memory/{path}": variable for path, variable in self.task.checkpoint_state().items()},
        }


def _poison_last_replica(task: Task, poison: tf.Variable) -> None:
    """Adds a number to one of the last replica's gradients."""
    gradients_of = task.gradients

    def gradients(batch: dict[str, tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        scalars, gradients = gradients_of(batch)
        added = tf.where(tf.equal(replica_id(), num_replicas() - 1), poison, 0.0)
        return scalars, [*gradients[:-1], gradients[-1] + tf.cast(added, gradients[-1].dtype)]

    task.gradients = gradients


def assert_close(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float) -> None:
    """Each array to a tolerance relative to its largest value."""
    assert set(ours) == set(theirs)
    for path, want in theirs.items():
        bound = tolerance * max(np.abs(want).max(), 1e-12)
        np.testing.assert_allclose(ours[path], want, rtol=0, atol=bound, err_msg=path)


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for path, want in theirs.items():
        np.testing.assert_array_equal(ours[path], want, err_msg=path)
