"""What each stage does beyond its numbers."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import batch_of, config_of
from tf_simclrv2 import LARS, ConfigError, DataConfig, FineTuning, Pretraining
from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.data import batch_random_blur, example_seeds

SMALL = {"resnet_depth": 18, "image_size": 16, "train_batch_size": 8}


def tensors(batch):
    return {name: tf.constant(array) for name, array in batch.items()}


def small_batch(config):
    return tensors(batch_of(config))


def gradients(task, batch):
    variables = task.network.trainable_variables
    with tf.GradientTape() as tape:
        losses, _ = task.objective(batch)
        loss = tf.add_n(list(losses.values()))
    found = tape.gradient(loss, [variable.value for variable in variables])
    return {variable.path: gradient for variable, gradient in zip(variables, found, strict=True)}


def test_linear_evaluation_does_not_reach_the_encoder():
    """Without the contrastive loss nothing but the classifier has a gradient."""
    task = Pretraining(config_of(SMALL))
    variables = task.network.trainable_variables
    with tf.GradientTape() as tape:
        losses, _ = task.objective(small_batch(task.config))
    found = tape.gradient(losses["supervised_loss"], [variable.value for variable in variables])
    with_gradient = {v.path for v, g in zip(variables, found, strict=True) if g is not None}
    assert with_gradient == {"simclr/supervised_head/kernel", "simclr/supervised_head/bias"}


def test_without_classes_there_is_no_classifier():
    config = config_of(SMALL)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, num_classes=0))
    task = Pretraining(config)
    task.compile(LARS(0.1))
    batch = small_batch(config)
    del batch["label"]
    logs = task.train_step(batch)
    contrastive = {"contrast_loss", "contrast_acc", "contrast_entropy"}
    assert set(logs) == contrastive | {"weight_decay", "total_loss"}
    assert float(logs["weight_decay"]) == 0.0
    assert np.isfinite(float(logs["total_loss"]))


def test_a_collapse_is_watched_for():
    task = Pretraining(config_of(SMALL))
    task.compile(LARS(0.1))
    batch = small_batch(task.config)
    task.objective(batch)
    metrics = task.gauges()
    z = task.network(task.views(batch), training=True)["proj_head_output"].numpy()
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    distances = np.sum((unit[:, np.newaxis] - unit) ** 2, axis=2)
    n = len(z) // 2
    assert float(metrics["alignment"]) == pytest.approx(np.mean(np.diag(distances[:n, n:])))
    # Of different images only: the two views of one are close by design.
    within = [distances[:n, :n], distances[n:, n:]]
    logs = [np.log(np.mean(np.exp(-2 * part[~np.eye(n, dtype=bool)]))) for part in within]
    assert float(metrics["uniformity"]) == pytest.approx(np.mean(logs))
    values = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)[:-1]  # Centring costs one.
    shares = values / values.sum()
    assert float(metrics["effective_rank"]) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))


def test_nothing_is_told_of_a_collapse_that_was_not_measured():
    task = Pretraining(config_of({**SMALL, "train_batch_size": 4}))
    assert task.gauges() == {}
    task.compile(LARS(0.1))
    assert task.gauges() == {}
    batch = small_batch(task.config)
    task.train_step({name: rows[:6] for name, rows in batch.items()})
    assert task.gauges() == {}
    task.train_step({name: rows[:4] for name, rows in batch.items()})
    assert task.gauges()["effective_rank"] > 1.0


def test_blur_is_a_function_of_seed_and_key():
    config = dataclasses.replace(config_of({**SMALL, "image_size": 32}), data=DataConfig(use_blur=True))
    task = Pretraining(config)
    keys = tf.range(100, 108, dtype=tf.int64)
    batch = {**tensors(batch_of(config)), "key": keys}
    views = task.views(batch)
    for i, name in enumerate(("view_1", "view_2")):
        expected = batch_random_blur(batch[name], example_seeds(0, keys, f"{name}/blur"), 32)
        np.testing.assert_array_equal(tf.split(views, 2)[i], expected)
    assert np.any(views.numpy() != tf.concat([batch["view_1"], batch["view_2"]], 0).numpy())
    last = {name: tensor[4:] for name, tensor in batch.items()}
    np.testing.assert_array_equal(tf.split(task.views(last), 2)[0], tf.split(views, 2)[0][4:])


@pytest.mark.parametrize("block", [0, 2, 4])
def test_frozen_blocks_do_not_move(block):
    config = config_of({**SMALL, "train_mode": "finetune", "fine_tune_after_block": block}, "float32")
    task = FineTuning(config)
    assign_published_weights(task.network)
    task.compile(LARS(1.0, weight_decay=0.1))
    resnet = task.network.resnet
    frozen = [v for layer in [resnet.stem, *resnet.block_groups][: block + 1] for v in layer.variables]
    moving = [v for v in task.network.variables if all(v is not other for other in frozen)]
    before = [v.numpy() for v in frozen], [v.numpy() for v in moving]
    task.train_step(small_batch(config))
    for variable, value in zip(frozen, before[0], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    changed = [np.any(v.numpy() != value) for v, value in zip(moving, before[1], strict=True)]
    assert all(changed)
    assert len(task.optimizer.momentums) == len(task.network.trainable_variables)
    assert not {id(v) for v in frozen} & {id(v) for v in task.network.trainable_variables}


@pytest.mark.parametrize("layer", [0, 1, 2, -1])
def test_freezing_everything_trains_the_classifier_alone(layer):
    changes = {"train_mode": "finetune", "fine_tune_after_block": 4, "ft_proj_selector": layer}
    config = config_of({**SMALL, **changes}, "float32")
    task = FineTuning(config)
    assign_published_weights(task.network)
    task.compile(LARS(1.0, weight_decay=0.1))
    network = task.network
    classifier = {"simclr/supervised_head/kernel", "simclr/supervised_head/bias"}
    assert {variable.path for variable in network.trainable_variables} == classifier
    assert len(task.optimizer.momentums) == 2
    batch = small_batch(config)
    before = {variable.path: variable.numpy() for variable in network.variables}
    features = network(batch["image"], training=False)
    task.train_step(batch)
    changed = {v.path for v in network.variables if np.any(v.numpy() != before[v.path])}
    assert changed == classifier
    # The classifier reads what it will read when it is used.
    training = network(batch["image"], training=True)
    np.testing.assert_array_equal(training["proj_head_output"], features["proj_head_output"])


def test_zeroed_classifier_starts_at_ln_classes():
    config = config_of({**SMALL, "train_mode": "finetune", "zero_init_logits_layer": True})
    losses, _ = FineTuning(config).objective(small_batch(config))
    assert float(losses["supervised_loss"]) == pytest.approx(np.log(10), rel=1e-12)


def test_every_trainable_variable_has_a_gradient():
    for flags in ({}, {"train_mode": "finetune", "ft_proj_selector": 2}):
        config = config_of({**SMALL, **flags})
        task = (FineTuning if flags else Pretraining)(config)
        assert all(gradient is not None for gradient in gradients(task, small_batch(config)).values())


def test_test_step_leaves_out_the_filler():
    config = config_of(SMALL)
    task = Pretraining(config)
    batch = small_batch(config)
    images, labels = batch["view_1"], batch["label"]
    task.test_step({"image": images, "label": labels})
    plain = {name: float(mean.result()) for name, mean in task.eval_means.items()}
    for metric in task.metrics:
        metric.reset_state()
    padded = {
        "image": tf.concat([images, tf.zeros_like(images)], 0),
        "label": tf.concat([labels, tf.fill([8], tf.constant(-1, labels.dtype))], 0),
        "mask": tf.constant([True] * 8 + [False] * 8),
    }
    task.test_step(padded)
    for name, mean in task.eval_means.items():
        assert float(mean.result()) == pytest.approx(plain[name], rel=1e-6), name
    logits = task.network(images)["logits_sup"].numpy()
    expected = np.mean(np.argmax(logits, axis=1) == labels.numpy())
    assert plain["label_top_1_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [255.0, -1.0])
def test_images_out_of_range_are_refused(scale):
    task = Pretraining(config_of(SMALL))
    task.compile(LARS(0.1))
    batch = small_batch(task.config)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the model takes 0 to 1"):
        tf.function(task.train_step)({**batch, "view_2": batch["view_2"] * scale})


def test_pretraining_cannot_freeze():
    with pytest.raises(ConfigError, match="fine_tune_after_block is 2"):
        ExperimentConfig(model=ModelConfig(fine_tune_after_block=2))


@pytest.mark.parametrize("named", ["lars", "momentum"])
def test_what_is_decayed_in_the_loss_follows_the_optimizer(named):
    task = Pretraining(config_of({**SMALL, "optimizer": named, "weight_decay": 0.01}))
    assign_published_weights(task.network)
    weights = {v.path: np.square(v.numpy()).sum() for v in task.network.trainable_variables}
    classifier = 0.005 * weights["simclr/supervised_head/kernel"]
    every = 0.005 * sum(square for path, square in weights.items() if "norm" not in path)
    decay = {"lars": classifier, "momentum": every}
    assert float(task.weight_decay()) == pytest.approx(decay[named], rel=1e-9)
    scaled = keras.optimizers.LossScaleOptimizer
    for wrap in (lambda optimizer: optimizer, scaled):
        task.compile(wrap(keras.optimizers.SGD(0.1)))
        assert float(task.weight_decay()) == pytest.approx(every, rel=1e-9)
        task.compile(wrap(LARS(0.1, weight_decay=0.01)))
        assert float(task.weight_decay()) == pytest.approx(classifier, rel=1e-9)
