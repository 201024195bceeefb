"""Pretraining with a memory: its order of things, its averages, and what is kept of it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, CheckpointError, ConfigError, ObjectiveConfig, Pretraining
from tf_simclrv2.training.model_dir.checkpoints import refuse_foreign_checkpoint, training_checkpoint
from tf_simclrv2.weights.loading import load_weights

FLAGS = {
    "resnet_depth": 18,
    "image_size": 16,
    "train_batch_size": 8,
    "weight_decay": 1e-4,
    "temperature": 0.5,
}
KEYS = 16
SIZE = 24


pytestmark = pytest.mark.usefixtures("two_blocks")


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


def on_replicas(replicas, task, function):
    """`function` of a batch as something to call, which runs it on the replicas."""
    batch = batch_of(task.config)
    return replicas.traced(lambda *arrays: function(dict(zip(batch, arrays, strict=True))), *batch.values())


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
    # What was loaded into the online network before the first step counts.
    expected = [v.numpy() for v in online]
    for _ in range(3):
        before = [v.numpy() for v in online]
        expected = [0.9 * e + 0.1 * b for e, b in zip(expected, before, strict=True)]
        task.train_step(batch)
        for variable, value in zip(average, expected, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-12, atol=1e-14)
    assert all(np.any(v.numpy() != e) for v, e in zip(online, expected, strict=True))


def test_the_momentum_encoder_has_statistics_of_its_own():
    """It normalizes with its batch's statistics; its moving ones follow its own activations."""
    task = task_for()
    batch = tensors(task.config)
    task.train_step(batch)
    network = task.momentum_encoder.network
    conv, norm = network.resnet.stem.convs[0], network.resnet.stem.norms[0]
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    task.train_step(batch)
    views = task.views(batch)
    activations = conv(views).numpy()
    mean = 0.9 * mean + 0.1 * activations.mean((0, 1, 2))
    variance = 0.9 * variance + 0.1 * activations.var((0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-9)
    # The queue's last keys, which have wrapped around its end, are those of training mode.
    keys = network(views, training=True)["proj_head_output"].numpy()
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    slots = (KEYS + np.arange(KEYS)) % SIZE
    np.testing.assert_allclose(task.queue.keys.numpy()[slots], keys, rtol=1e-9, atol=1e-12)


def test_keys_of_a_step_are_remembered_after_it():
    """In Keras's `fit`, which compiles the step: the queue is empty in the first step and then fills."""
    task, plain = task_for(decay=0.0), task_for(size=0)
    batches = tf.data.Dataset.from_tensors(batch_of(task.config))
    first = task.fit(batches, shuffle=False, verbose=0).history["contrast_loss"]
    assert first == pytest.approx([float(plain.train_step(tensors(plain.config))["contrast_loss"])], rel=1e-9)
    assert (int(task.queue.count.numpy()), int(task.queue.pointer.numpy())) == (KEYS, KEYS)
    task.fit(batches.repeat(3), shuffle=False, verbose=0)
    assert (int(task.queue.count.numpy()), int(task.queue.pointer.numpy())) == (SIZE, 4 * KEYS % SIZE)
    np.testing.assert_allclose(np.linalg.norm(task.queue.keys.numpy(), axis=1), 1.0, rtol=1e-9)


def test_first_loss_in_float32_on_any_number_of_replicas(replicas):
    past = np.random.default_rng(0).standard_normal((SIZE, 128)).astype("float32")
    past /= np.linalg.norm(past, axis=1, keepdims=True)

    def first_loss(count):
        here = replicas(count)
        with here.scope():
            task = task_for(precision="float32")
        task.queue.keys.assign(past)
        task.queue.count.assign(SIZE - 5)
        return np.mean(on_replicas(here, task, lambda batch: task.objective(batch)[0]["contrast_loss"])())

    loss = first_loss(1)
    for count in (2, 4):
        assert first_loss(count) == pytest.approx(loss, rel=1e-5)


def test_the_memory_is_in_the_checkpoint_and_not_in_the_network(tmp_path):
    remembering, plain = task_for(), task_for(size=0)
    paths = {}
    for name, task in (("remembering", remembering), ("plain", plain)):
        paths[name] = training_checkpoint(task).save(str(tmp_path / name / "ckpt"))
        refuse_foreign_checkpoint(training_checkpoint(task), paths[name])
    saved = {name for name, _ in tf.train.list_variables(paths["remembering"]) if name.startswith("memory/")}
    assert len(saved) == len(remembering.checkpoint_state())
    assert "memory/queue/pointer/.ATTRIBUTES/VARIABLE_VALUE" in saved
    with pytest.raises(CheckpointError, match=r"0 variable\(s\) are missing there .* the first memory/"):
        refuse_foreign_checkpoint(training_checkpoint(plain), paths["remembering"])
    with pytest.raises(CheckpointError, match=r"and 0 unknown here, the first memory/"):
        refuse_foreign_checkpoint(training_checkpoint(remembering), paths["plain"])
    report = load_weights(plain.network, paths["remembering"])
    assert set(report.left) == {"supervised_head/kernel", "supervised_head/bias"}
    assert report.unused == ()


def test_the_memory_is_not_trained_and_costs_nothing_when_off():
    with_memory, without = task_for(), task_for(size=0)
    assert without.checkpoint_state() == {}
    assert without.momentum_encoder is None and without.queue is None
    memory = {id(v) for v in with_memory.checkpoint_state().values()}
    assert len(with_memory.variables) == len(without.variables) + len(memory)
    assert not memory & {id(v) for v in with_memory.network.variables}
    assert len(with_memory.optimizer.variables) == len(without.optimizer.variables)


def test_half_precision_is_finite():
    task = task_for(precision="mixed_bfloat16")
    logs = task.train_step(tensors(task.config))
    assert logs["contrast_loss"].dtype == tf.float32 and np.isfinite(float(logs["total_loss"]))
    assert task.queue.keys.dtype == "float32"


def test_a_memory_smaller_than_a_step():
    with pytest.raises(ConfigError, match=r"memory_size is 15, but one step of batch 8 makes 16 keys"):
        config_for(size=15)
    with pytest.raises(ConfigError, match=r"memory_decay is 1\.5"):
        ObjectiveConfig(memory_decay=1.5)
