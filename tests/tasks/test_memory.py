"""Pretraining with a memory: its order of things, its averages, and any number of replicas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, ConfigError, ObjectiveConfig, Pretraining
from tf_simclrv2.models import resnet
from tf_simclrv2.training.checkpoints import load_weights, refuse_foreign_checkpoint, training_checkpoint

FLAGS = {
    "resnet_depth": 18,
    "image_size": 16,
    "train_batch_size": 8,
    "weight_decay": 1e-4,
    "temperature": 0.5,
}
KEYS = 16
SIZE = 24


@pytest.fixture(autouse=True)
def _one_block_a_group(monkeypatch):
    """A "ResNet-18" of one block a group, for two of them are run in each step."""
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))


def config_for(precision="float64", size=SIZE, decay=0.9):
    config = config_of(FLAGS, precision)
    objective = dataclasses.replace(config.objective, memory_size=size, memory_decay=decay)
    return dataclasses.replace(config, objective=objective)


def task_for(**settings):
    task = Pretraining(config_for(**settings))
    assign_published_weights(task.network)
    task.compile(LARS(0.5, weight_decay=1e-4))
    return task


def tensors(config):
    return {name: tf.constant(array) for name, array in batch_of(config).items()}


def take_steps(replicas, task, times):
    """The last step's contrastive loss, meaned over the replicas."""
    batch = batch_of(task.config)
    loss = task.train_means["contrast_loss"]

    def step(*arrays):
        loss.reset_state()
        task.train_step(dict(zip(batch, arrays, strict=True)))

    replicas.run(step, *batch.values(), times=times)
    return float(loss.result())


def everything(task):
    return [*task.network.variables, *task.memory().values()]


def weights(task):
    return [variable.numpy() for variable in everything(task)]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9 * max(np.abs(one).max(), 1e-12))


def followed(network):
    return [*network.resnet.trainable_variables, *network.projection_head.trainable_variables]


def test_without_decay_the_first_loss_is_the_plain_one():
    remembering, plain = task_for(decay=0.0), task_for(size=0)
    batch = tensors(plain.config)
    ours, theirs = remembering.train_step(batch), plain.train_step(batch)
    for name in ("contrast_loss", "contrast_acc", "contrast_entropy", "supervised_loss"):
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-12), name


def test_averages_follow_the_online_weights():
    task = task_for(decay=0.9)
    batch = tensors(task.config)
    online, average = followed(task.network), task.momentum_encoder.network.trainable_variables
    for step in range(3):
        before = [v.numpy() for v in online]
        # What was loaded into the online network before the first step counts.
        expected = [0.9 * e + 0.1 * b for e, b in zip(expected, before, strict=True)] if step else before
        task.train_step(batch)
        for variable, value in zip(average, expected, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-12, atol=1e-14)
    assert all(np.any(v.numpy() != e) for v, e in zip(online, expected, strict=True))


def test_the_momentum_encoder_has_batch_statistics_of_its_own():
    """Its moving statistics follow its own activations, and its keys are made with those of the batch."""
    task = task_for()
    batch = tensors(task.config)
    task.train_step(batch)
    ours, theirs = (network.resnet.stem for network in (task.momentum_encoder.network, task.network))
    norms = [stem.norms[0] for stem in (ours, theirs)]
    start = [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]
    # At first both networks have the same weights, so they have seen the same.
    published = 0.1 * (start[0][0] - 0.9 * 0.0) - 0.1 * (start[0][0])
    np.testing.assert_allclose(published, 0.0, atol=1e-12)
    task.train_step(batch)
    activations = ours.convs[0](task.views(batch)).numpy()
    mean, variance = activations.mean((0, 1, 2)), activations.var((0, 1, 2))
    np.testing.assert_allclose(norms[0].moving_mean, 0.9 * start[0][0] + 0.1 * mean, rtol=1e-9)
    np.testing.assert_allclose(norms[0].moving_variance, 0.9 * start[0][1] + 0.1 * variance, rtol=1e-9)
