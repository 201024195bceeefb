"""Pretraining with a memory: its order of things, its averages, and any number of replicas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, ConfigError, ObjectiveConfig, Pretraining
from tf_simclrv2.training.checkpoints import training_checkpoint

FLAGS = {
    "resnet_depth": 18,
    "image_size": 16,
    "train_batch_size": 8,
    "weight_decay": 1e-4,
    "temperature": 0.5,
}
SIZE = 24


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


def weights(task):
    return [v.numpy() for v in [*task.network.variables, *task.memory().values()]]


def test_without_decay_the_first_loss_is_the_plain_one():
    remembering, plain = task_for(decay=0.0), task_for(size=0)
    batch = tensors(plain.config)
    ours, theirs = remembering.train_step(batch), plain.train_step(batch)
    for name in ("contrast_loss", "contrast_acc", "contrast_entropy", "supervised_loss"):
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-12), name


def test_averages_follow_the_online_weights():
    task = task_for(decay=0.75)
    batch = tensors(task.config)
    online = task.network.resnet.trainable_variables
    average = task.momentum_encoder.network.resnet.trainable_variables
    expected = [v.numpy() for v in online]
    for step in range(3):
        before = [v.numpy() for v in online]
        if step:
            expected = [0.75 * e + 0.25 * b for e, b in zip(expected, before, strict=True)]
        task.train_step(batch)
        for variable, value in zip(average, expected, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-7, atol=1e-12)
    assert any(np.any(v.numpy() != e) for v, e in zip(online, expected, strict=True))


def test_statistics_of_the_momentum_encoder_are_its_own():
    """After one step from equal weights both networks have seen the same batch, so the same statistics."""
    task = task_for(decay=0.75)
    ours, theirs = (n.resnet.non_trainable_variables for n in (task.momentum_encoder.network, task.network))
    starts = [(average.numpy(), online.numpy()) for average, online in zip(ours, theirs, strict=True)]
    task.train_step(tensors(task.config))
    for average, online, (before, online_before) in zip(ours, theirs, starts, strict=True):
        # A tenth of the batch's statistic joins nine tenths of where each one started.
        batch_part = online.numpy() - 0.9 * online_before
        np.testing.assert_allclose(average.numpy() - 0.9 * before, batch_part, rtol=1e-6, atol=1e-9)


def test_keys_of_a_step_are_remembered_after_it():
    task = task_for()
    batch = tensors(task.config)
    for step in range(1, 5):
        task.train_step(batch)
        assert int(task.queue.count.numpy()) == min(16 * step, SIZE)
        assert int(task.queue.pointer.numpy()) == 16 * step % SIZE
    np.testing.assert_allclose(np.linalg.norm(task.queue.keys.numpy(), axis=1), 1.0, rtol=1e-9)


def test_replicas_do_not_show(replicas):
    def three_steps(count):
        here = replicas(count)
        with here.scope():
            task = task_for()
        batch = batch_of(task.config)

        def step(*arrays):
            return task.train_step(dict(zip(batch, arrays, strict=True)))["total_loss"]

        here.run(step, *batch.values(), times=3)
        return weights(task)

    expected = three_steps(1)
    for count in (2, 4):
        for ours, theirs in zip(expected, three_steps(count), strict=True):
            scale = max(np.abs(ours).max(), 1e-12)
            np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9 * scale)


def test_everything_is_in_the_checkpoint(tmp_path):
    task = task_for()
    batch = tensors(task.config)
    task.train_step(batch)
    path = training_checkpoint(task).save(str(tmp_path / "ckpt"))
    task.train_step(batch)
    expected = weights(task)
    other = task_for()
    training_checkpoint(other).restore(path).assert_consumed()
    other.train_step(batch)
    for ours, theirs in zip(expected, weights(other), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12)


def test_the_memory_is_not_trained_and_costs_nothing_when_off():
    with_memory, without = task_for(), task_for(size=0)
    assert without.memory() == {}
    assert len(without.variables) < len(with_memory.variables)
    trained = {id(v) for v in with_memory.network.trainable_variables}
    assert not trained & {id(v) for v in with_memory.memory().values()}
    assert len(with_memory.optimizer.variables) == len(without.optimizer.variables)


def test_half_precision_is_finite():
    task = task_for(precision="mixed_bfloat16")
    logs = task.train_step(tensors(task.config))
    assert logs["contrast_loss"].dtype == tf.float32 and np.isfinite(float(logs["total_loss"]))


def test_a_memory_smaller_than_a_step():
    with pytest.raises(ConfigError, match=r"memory_size is 15, but one step of batch 8 makes 16 keys"):
        config_for(size=15)
    with pytest.raises(ConfigError, match=r"memory_decay is 1\.5"):
        ObjectiveConfig(memory_decay=1.5)
