"""The online classifier of pretraining learns at its own rate, whatever the network's is."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, Pretraining, WarmupCosine

SMALL = {"resnet_depth": 18, "image_size": 16, "train_batch_size": 8, "weight_decay": 0.0}
KERNEL, BIAS = "simclr/supervised_head/kernel", "simclr/supervised_head/bias"

pytestmark = pytest.mark.usefixtures("two_blocks")


def task_with(rate: float, optimizer: keras.optimizers.Optimizer, **flags) -> Pretraining:
    task = Pretraining(config_of({**SMALL, "online_learning_rate": rate, **flags}))
    assign_published_weights(task.network)
    task.compile(optimizer)
    return task


def step(task: Pretraining, **changes: np.ndarray) -> dict[str, np.ndarray]:
    """How a step moves each variable; `changes` are of the batch."""
    variables = task.network.trainable_variables
    before = [variable.numpy() for variable in variables]
    batch = batch_of(task.config) | changes
    task.train_step({name: tf.constant(array) for name, array in batch.items()})
    return {v.path: v.numpy() - value for v, value in zip(variables, before, strict=True)}


def gradients_and_curvature(
    task: Pretraining, label: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], float]:
    """Of the classifier's mean loss on the labeled rows, from the classifier's input and in NumPy."""
    batch = batch_of(task.config)
    views = tf.concat([batch["view_1"], batch["view_2"]], axis=0)
    h = task.network(views, training=True, update_statistics=False)["final_avg_pool"].numpy()
    labels = np.tile(batch["label"] if label is None else label, 2)
    h, labels = h[labels >= 0], labels[labels >= 0]
    logits = h @ task.network.supervised_head.kernel.numpy() + task.network.supervised_head.bias.numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (p - np.eye(10)[labels]) / len(h)
    curvature = np.mean(np.minimum(p.max(axis=1), 0.5) * (1 + np.square(h).sum(axis=1)))
    return {KERNEL: h.T @ error, BIAS: error.sum(axis=0)}, float(curvature)


def assert_moved(moved: dict[str, np.ndarray], gradients: dict[str, np.ndarray], rate: float) -> None:
    for path, gradient in gradients.items():
        np.testing.assert_allclose(moved[path], -rate * gradient, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("network_rate", "microbatch_size"), [(4.0, 0), (0.01, 0), (4.0, 8)])
def test_a_step_is_the_rate_over_the_curvature(network_rate: float, microbatch_size: int) -> None:
    task = task_with(0.2, LARS(network_rate), microbatch_size=microbatch_size)
    gradients, curvature = gradients_and_curvature(task)
    assert_moved(step(task), gradients, 0.2 / curvature)


def test_the_network_does_not_notice() -> None:
    alone, common = (step(task_with(rate, LARS(0.5))) for rate in (0.2, 0.0))
    assert np.any(alone[KERNEL] != common[KERNEL])
    for path in common.keys() - {KERNEL, BIAS}:
        np.testing.assert_array_equal(alone[path], common[path])


def test_a_rate_of_zero_is_that_of_the_network() -> None:
    task = task_with(0.0, LARS(0.5))
    gradients, _ = gradients_and_curvature(task)
    assert_moved(step(task), gradients, 0.5)


def test_a_warm_up_begins_without_a_step_and_the_second_is_whole() -> None:
    task = task_with(0.2, LARS(WarmupCosine(peak=1.0, total_steps=10, warmup_steps=5)))
    assert not any(np.any(change) for change in step(task).values())
    gradients, curvature = gradients_and_curvature(task)
    assert_moved(step(task), gradients, 0.2 / curvature)


def test_unlabeled_rows_do_not_slow_it_down() -> None:
    """The mean loss of a batch in which few rows have labels is as small as its curvature."""
    task = task_with(0.2, LARS(4.0))
    labels = batch_of(task.config)["label"]
    few = np.where(np.arange(len(labels)) < 2, labels, -1)
    gradients, curvature = gradients_and_curvature(task, few)
    assert_moved(step(task, label=few), gradients, 0.2 / curvature)


def test_a_batch_without_labels_leaves_it_alone() -> None:
    task = task_with(0.2, LARS(4.0))
    moved = step(task, label=np.full(8, -1))
    assert not np.any(moved[KERNEL]) and not np.any(moved[BIAS])
    assert all(np.isfinite(values).all() for values in moved.values())


@pytest.mark.parametrize("scales", [False, True])
def test_adam_is_not_misled_by_a_factor_that_changes(scales: bool) -> None:
    """It divides by past gradients, so a factor that falls in a warm-up would make its steps too small."""

    def moved(rate: float) -> list[np.ndarray]:
        adam = keras.optimizers.Adam(WarmupCosine(0.01, total_steps=20, warmup_steps=10))
        task = task_with(rate, keras.optimizers.LossScaleOptimizer(adam) if scales else adam)
        return [step(task)[KERNEL] for _ in range(3)]

    for own, common in zip(moved(0.2), moved(0.0), strict=True):
        np.testing.assert_array_equal(own, common)


def test_sgd_gives_it_its_own_rate_too() -> None:
    task = task_with(0.2, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(4.0)))
    gradients, curvature = gradients_and_curvature(task)
    assert_moved(step(task), gradients, 0.2 / curvature)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.RMSprop(0.01),
        lambda: keras.optimizers.Nadam(0.01),
        lambda: keras.optimizers.Lamb(0.01),
        lambda: keras.optimizers.SGD(4.0, clipnorm=0.1),
        lambda: keras.optimizers.SGD(4.0, global_clipnorm=0.1),
        lambda: LARS(4.0, clipvalue=0.01),
    ],
)
def test_a_factor_does_not_reach_what_would_undo_it(optimizer: Callable) -> None:
    """A clipped norm of all gradients together would even slow the network down."""
    own, common = (step(task_with(rate, optimizer())) for rate in (0.2, 0.0))
    assert np.any(own[KERNEL])
    for path, change in common.items():
        np.testing.assert_array_equal(own[path], change)
