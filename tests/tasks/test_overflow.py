"""mixed_float16: all replicas skip a step together when the gradients of one overflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, FineTuning
from tf_simclrv2.distribution.collectives import replica_id
from tf_simclrv2.tasks.task import Scalars

FLAGS = {"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "train_mode": "finetune"}

pytestmark = pytest.mark.usefixtures("two_blocks")


class Overflowing(FineTuning):
    """Its gradients overflow on the last of `count` replicas, in the last variable that has one."""

    count: int
    overflow: tf.Variable

    def gradients(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, list[tf.Tensor]]:
        scalars, gradients = super().gradients(batch)
        last = tf.equal(replica_id(), self.count - 1)
        bad = tf.where(last & (self.overflow > 0), float("inf"), 0.0)
        where = max(i for i, gradient in enumerate(gradients) if gradient is not None)
        gradients[where] += bad
        return scalars, gradients


@pytest.mark.parametrize("count", [1, 2])
def test_an_overflow_skips_the_step_on_every_replica(count: int, replicas: Callable) -> None:
    spread = replicas(count)
    config = config_of(FLAGS, "mixed_float16")
    # The head's unused layers have no gradient.
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, truncate_proj_head=False))
    with spread.scope():
        task = Overflowing(config)
        task.compile(LARS(0.1))
        task.count, task.overflow = count, tf.Variable(1.0)
    batch = batch_of(config)

    def state() -> dict[str, list[np.ndarray]]:
        """Weights, momentum, scale and the number of steps, as every replica has them."""
        variables = [*task.network.trainable_variables, *task.optimizer.variables]
        copies = {v.path: spread.strategy.experimental_local_results(v.value) for v in variables}
        return {path: [copy.numpy() for copy in of_path] for path, of_path in copies.items()}

    step = spread.traced(
        lambda *arrays: task.train_step(dict(zip(batch, arrays, strict=True))), *batch.values()
    )
    scale, steps = task.optimizer.dynamic_scale.path, task.optimizer.iterations.path
    before = state()
    step()
    skipped = state()
    half = [copy / 2 for copy in before[scale]]
    assert skipped[scale] == half and skipped[steps] == [0] * count
    for path, copies in before.items():
        if path != scale:
            np.testing.assert_array_equal(skipped[path], copies, err_msg=path)
    task.overflow.assign(0.0)
    step()
    after = state()
    assert after[scale] == half and after[steps] == [1] * count
    assert all(np.all(np.isfinite(copies)) for copies in after.values())
    weights = [v.path for v in task.network.trainable_variables]
    assert any(np.any(after[path][0] != before[path][0]) for path in weights)
