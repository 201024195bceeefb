"""The number of replicas does not show in what is learned."""

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS
from tf_simclrv2.tasks import build_task

FLAGS = {
    "resnet_depth": 18,
    "image_size": 32,
    "temperature": 0.5,
    "weight_decay": 1e-4,
    "train_batch_size": 8,
}
STAGES = {"pretrain": {}, "finetune": {"train_mode": "finetune", "ft_proj_selector": 1}}


def losses_and_weights(replicas, stage, precision, steps):
    config = config_of({**FLAGS, **STAGES[stage]}, precision)
    with replicas.scope():
        task = build_task(config)
        assign_published_weights(task.network)
        task.compile(LARS(0.1, weight_decay=1e-4))
    batch = batch_of(config)
    names = list(batch)
    losses = []
    for _ in range(steps):
        for metric in task.metrics:
            metric.reset_state()
        replicas.run(lambda *arrays: task.train_step(dict(zip(names, arrays, strict=True))), *batch.values())
        losses.append(float(task.train_means["total_loss"].result()))
    return np.array(losses), [variable.numpy() for variable in task.network.variables]


@pytest.mark.parametrize("stage", STAGES)
def test_three_steps_in_float64(replicas, stage):
    losses, weights = losses_and_weights(replicas(1), stage, "float64", steps=3)
    assert losses[2] != losses[0]
    for count in (2, 4):
        other_losses, other_weights = losses_and_weights(replicas(count), stage, "float64", steps=3)
        np.testing.assert_allclose(other_losses, losses, rtol=1e-9)
        for ours, theirs in zip(weights, other_weights, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9 * np.abs(ours).max())


def loss_and_gradient(replicas, precision):
    """The mean loss and the summed gradient of the first step of pretraining."""
    config = config_of(FLAGS, precision)
    with replicas.scope():
        task = build_task(config)
        assign_published_weights(task.network)
    batch = batch_of(config)

    def gradients(*arrays):
        with tf.GradientTape() as tape:
            losses, _ = task.objective(dict(zip(batch, arrays, strict=True)))
            loss = tf.add_n(list(losses.values()))
            share = loss / replicas.count
        return loss, tape.gradient(share, [v.value for v in task.network.trainable_variables])

    results = replicas.run(gradients, *batch.values())
    summed = [np.sum(parts, axis=0) for parts in zip(*(gradient for _, gradient in results), strict=True)]
    return np.mean([loss for loss, _ in results]), np.concatenate([g.ravel() for g in summed])


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
def test_first_loss_and_gradient(replicas, precision, tolerance):
    loss, gradient = loss_and_gradient(replicas(1), precision)
    for count in (2, 4):
        other_loss, other = loss_and_gradient(replicas(count), precision)
        assert other_loss == pytest.approx(loss, rel=tolerance)
        assert np.linalg.norm(other - gradient) <= tolerance * np.linalg.norm(gradient)
