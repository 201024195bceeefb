"""A batch computed in parts against the same batch computed whole, or under one tape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, ConfigError, Distillation, FineTuning, Pretraining, TrainingConfig, nt_xent
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.objectives.memory_bank import nt_xent_with_memory_bank
from tf_simclrv2.optimization import build_optimizer
from tf_simclrv2.private_api import layers_within
from tf_simclrv2.tasks import Task

FLAGS = {"resnet_depth": 18, "image_size": 8, "train_batch_size": 8, "temperature": 0.5, "weight_decay": 1e-4}
PART = 4
PARTS = 2

pytestmark = pytest.mark.usefixtures("two_blocks")


def _config(mode: str, part: int, precision: str = "float64", **changes) -> ExperimentConfig:
    memory = 16 if mode == "memory" else 0
    train_mode = {"finetune": "finetune", "distill": "distill", "distill_labeled": "distill"}
    flags = {**FLAGS, "train_mode": train_mode.get(mode, "pretrain"), "labeled_batch_size": 12, **changes}
    config = config_of({**flags, "distill_alpha": 0.3 if mode == "distill_labeled" else 1.0})
    return dataclasses.replace(
        config,
        objective=dataclasses.replace(config.objective, memory_size=memory, memory_decay=0.9),
        training=dataclasses.replace(config.training, microbatch_size=part, precision=precision),
    )


def _teacher(images: tf.Tensor) -> tf.Tensor:
    """Ten logits that differ from image to image."""
    return tf.pad(images[:, 0, :, 0] * 9.0, [[0, 0], [0, 2]])


def _task(mode: str, part: int = PART, precision: str = "float64", **changes) -> Task:
    config = _config(mode, part, precision, **changes)
    if mode.startswith("distill"):
        task = Distillation(config, teacher=_teacher)
    else:
        task = FineTuning(config) if mode == "finetune" else Pretraining(config)
    assign_published_weights(task.network)
    task.compile(LARS(0.5, weight_decay=1e-4))
    return task


def _tensors(task: Task) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in batch_of(task.config).items()}


def _with_fixed_statistics(task: Task) -> Task:
    for layer in layers_within(task):
        if isinstance(layer, BatchNormRelu):
            layer.trainable = False
    task.optimizer.built = False
    task.compile(LARS(0.5, weight_decay=1e-4))
    return task


def _assert_close(got: list, want: list, tolerance: float) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1e-6))


@pytest.mark.parametrize("mode", ["pretrain", "memory"])
def test_gradient_is_that_of_one_tape_over_all_parts(mode: str) -> None:
    """Statistics of each part, one loss over all of them, and everything remembered."""
    task, other = _task(mode), _task(mode)
    batch = _tensors(task)
    network, settings = other.network, other.config.objective
    other._follow()
    with tf.GradientTape() as tape:
        z, keys, classification = {}, {}, []
        for part in range(PARTS):
            rows = [
                range(part, 2 * PART, PARTS),
                [(i + 1) % (2 * PART) for i in range(part, 2 * PART, PARTS)],
            ]
            views = tf.concat([tf.gather(batch[f"view_{i}"], of) for i, of in enumerate(rows, 1)], axis=0)
            endpoints = network(views, training=True, classify_detached=True)
            labels = tf.concat([tf.gather(batch["label"], of) for of in rows], axis=0)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, endpoints["logits_sup"])
            classification.append(tf.reduce_mean(losses))
            momentum = other.momentum_encoder(views) if mode == "memory" else endpoints["proj_head_output"]
            for i in range(PART):
                for view in range(2):
                    row = view * 2 * PART + rows[view][i]
                    z[row] = endpoints["proj_head_output"][view * PART + i]
                    keys[row] = momentum[view * PART + i]
        z, keys = (tf.stack([rows[i] for i in range(4 * PART)]) for rows in (z, keys))
        if mode == "memory":
            queue = tf.convert_to_tensor(other.queue.keys)
            loss, *_ = nt_xent_with_memory_bank(z, keys, queue, 0, settings.temperature, settings.hidden_norm)
        else:
            loss, *_ = nt_xent(z, settings.temperature, settings.hidden_norm)
        seen = tf.add_n(classification) / PARTS
        total = loss + seen + other.weight_decay()
    want = tape.gradient(total, [v.value for v in network.trainable_variables])
    scalars, got = tf.function(task.gradients)(batch)
    _assert_close(got, want, 1e-9)
    assert float(scalars["contrast_loss"]) == pytest.approx(float(loss), rel=1e-12)
    assert float(scalars["supervised_loss"]) == pytest.approx(float(seen), rel=1e-12)
    assert float(scalars["total_loss"]) == pytest.approx(float(total), rel=1e-12)
    # Moving statistics move once for each part, the momentum encoder's too.
    _assert_close([v.numpy() for v in task.network.variables], [v.numpy() for v in network.variables], 1e-10)
    if mode == "memory":
        averages = [[v.numpy() for v in t.momentum_encoder.network.variables] for t in (task, other)]
        _assert_close(*averages, 1e-10)
        np.testing.assert_allclose(task.queue.keys[:16], tf.math.l2_normalize(keys, axis=1), atol=1e-10)


@pytest.mark.parametrize("mode", ["pretrain", "memory", "finetune", "distill", "distill_labeled"])
@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
def test_with_fixed_statistics_nothing_but_memory_changes(
    mode: str, precision: str, tolerance: float
) -> None:
    whole, parts = (_with_fixed_statistics(_task(mode, part, precision)) for part in (0, 2))
    batch = _tensors(whole)
    want_scalars, want = tf.function(whole.gradients)(batch)
    got_scalars, got = tf.function(parts.gradients)(batch)
    _assert_close(got, want, tolerance)
    assert set(got_scalars) == set(want_scalars)
    for name, value in want_scalars.items():
        assert float(got_scalars[name]) == pytest.approx(float(value), rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("mode", ["pretrain", "memory"])
def test_no_part_holds_both_views_of_an_image(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their common statistics would tell that they belong together."""
    task = _task(mode)
    number = np.arange(2 * PART, dtype=np.float64) / 10.0
    views = np.broadcast_to(number[:, np.newaxis, np.newaxis, np.newaxis], (2 * PART, 8, 8, 3))
    batch = {"view_1": views, "view_2": views, "label": np.arange(2 * PART)}
    seen = []
    views_of = task.views

    def watched(part: dict[str, tf.Tensor]) -> tf.Tensor:
        found = views_of(part)
        seen.append(np.round(10 * found[:, 0, 0, 0].numpy()).astype(int).reshape(2, -1))
        return found

    monkeypatch.setattr(task, "views", watched)
    monkeypatch.setattr(tf, "while_loop", _loop_in_python)
    task.gradients({name: tf.constant(array) for name, array in batch.items()})
    assert len(seen) == 2 * PARTS  # Two passes.
    for first, second in seen:
        assert not set(first) & set(second)
    for turn in (seen[:PARTS], seen[PARTS:]):
        for view in range(2):
            assert sorted(np.concatenate([part[view] for part in turn])) == list(range(2 * PART))


def _loop_in_python(condition, body, variables, **_):
    while condition(*variables):
        variables = body(*variables)
    return variables


def test_a_step_of_two_replicas_does_not_grow_with_the_number_of_parts(replicas: Callable) -> None:
    """Unrolled, eight parts took minutes to trace."""
    spread = replicas(2)

    def nodes(part: int) -> int:
        with spread.scope():
            task = _task("pretrain", part)

        @tf.function
        def gradients(batch: dict[str, tf.Tensor]) -> tuple:
            return spread.strategy.run(task.gradients, (batch,))

        batch = {name: spread.distribute(array) for name, array in batch_of(task.config).items()}
        graph = gradients.get_concrete_function(batch).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    assert nodes(part=2) == nodes(part=4)


def test_blur_is_of_the_example_not_of_its_place() -> None:
    """A batch without keys is numbered before it is cut."""
    # The blur is a tenth as wide as the image; below 20 pixels it is the identity.
    changes = {"image_size": 20}
    tasks = [_task("pretrain", part, use_blur=True, **changes) for part in (0, PART)]
    tasks.append(_task("pretrain", 0, **changes))
    losses = [
        float(_with_fixed_statistics(task).gradients(_tensors(task))[0]["contrast_loss"]) for task in tasks
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert losses[2] != pytest.approx(losses[0], rel=1e-6)


def test_a_part_must_divide_the_batch() -> None:
    with pytest.raises(ConfigError, match="microbatch_size is 3, which does not divide train_batch_size 8"):
        TrainingConfig(train_batch_size=8, microbatch_size=3)


def test_steps_are_not_accumulated_by_the_optimizer() -> None:
    task = FineTuning(_config("finetune", 0))
    lars = LARS(0.1, gradient_accumulation_steps=2)
    for optimizer in (lars, keras.optimizers.LossScaleOptimizer(lars)):
        with pytest.raises(ConfigError, match=r"gradient_accumulation_steps .* is 2, .*set microbatch_size"):
            task.compile(optimizer)


@pytest.mark.parametrize("optimizer", ["lars", "momentum"])
def test_a_variable_without_a_gradient_is_not_decayed(optimizer: str) -> None:
    """The head's layers that the classifier does not read, if they are built; unless the loss decays them."""
    changes = []
    for part in (0, PART):
        config = _config("finetune", part, ft_proj_selector=0, optimizer=optimizer)
        model = dataclasses.replace(config.model, truncate_proj_head=False)
        task = FineTuning(dataclasses.replace(config, model=model))
        task.compile(build_optimizer(dataclasses.replace(config.optimizer, weight_decay=0.1), 1.0))
        before = [variable.numpy() for variable in task.network.trainable_variables]
        task.train_step(_tensors(task))
        pairs = zip(task.network.trainable_variables, before, strict=True)
        changes.append({v.path for v, old in pairs if np.any(v.numpy() != old)})
    assert changes[0] == changes[1]
    assert ("simclr/projection_head/dense_1/kernel" in changes[1]) == (optimizer == "momentum")
    assert "simclr/supervised_head/kernel" in changes[1]
