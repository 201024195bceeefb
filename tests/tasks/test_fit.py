"""Keras's `fit` and Orbit's loop drive the same step to the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import RESNET_18, batch_of, config_of
from tf_simclrv2 import LARS, ConfigError
from tf_simclrv2.tasks import build_task
from tf_simclrv2.training.trainer import Trainer

STEPS = 3


def task_and_batches():
    task = build_task(config_of({**RESNET_18, "image_size": 8}, "float64"))
    assign_published_weights(task.network)
    task.compile(LARS(0.1, weight_decay=1e-4))
    batch = {**batch_of(task.config), "key": np.arange(8)}
    return task, tf.data.Dataset.from_tensors(batch).repeat(STEPS)


@pytest.mark.usefixtures("two_blocks")
def test_fit_and_orbit_give_the_same_weights():
    fitted, batches = task_and_batches()
    history = fitted.fit(batches, epochs=1, verbose=0).history
    looped, batches = task_and_batches()
    trainer = Trainer(looped, batches, tf.distribute.get_strategy())
    output = trainer.train(tf.constant(STEPS))
    for ours, theirs in zip(fitted.network.variables, looped.network.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-14)
    assert int(fitted.optimizer.iterations) == int(looped.optimizer.iterations) == STEPS
    np.testing.assert_allclose(history["total_loss"][-1], float(output["train/total_loss"]), rtol=1e-9)
    assert int(trainer.positions["key"]) == 8
    assert int(trainer.bad_step) == -1


@pytest.mark.usefixtures("two_blocks")
def test_an_optimizer_may_be_named():
    task, _ = task_and_batches()
    task.compile("sgd")
    assert type(task.optimizer) is keras.optimizers.SGD and task.optimizer.built


@pytest.mark.usefixtures("two_blocks")
def test_what_cannot_be_trained_on():
    task = build_task(config_of({**RESNET_18, "image_size": 8, "train_mode": "finetune"}))
    task.compile(LARS(0.1))
    batch = batch_of(task.config)
    trains = "FineTuning trains on batches of image, label"
    with pytest.raises(ConfigError, match=f"batch to train on holds a tuple, not a dict; {trains}"):
        task.fit(batch["image"], batch["label"], verbose=0)
    with pytest.raises(ConfigError, match=f"batch to train on holds image; {trains}"):
        task.fit(tf.data.Dataset.from_tensors({"image": batch["image"]}), verbose=0)
