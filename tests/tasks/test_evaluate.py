"""Keras's `evaluate` on a task: what it measures, and that it agrees with the evaluation of a run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score

from tests.small_network import small_network as small_network
from tests.tasks.batches import BATCH, CLASSES, batch_of, config_of, linear_teacher
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import LARS, ConfigError, evaluation_batches, nt_xent
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.tasks import build_task

SMALL = {"resnet_depth": 18, "image_size": 8, "train_batch_size": BATCH}
RNG = np.random.default_rng(4)


def compiled(flags, precision="float64"):
    task = build_task(config_of({**SMALL, **flags}, precision), linear_teacher)
    task.compile(LARS(0.1, weight_decay=1e-4))
    for variable in task.network.supervised_head.variables:  # As initialized, its logits hardly differ.
        variable.assign(np.random.default_rng(1).standard_normal(variable.shape))
    return task


def state_of(task):
    variables = {**named_variables(task.network), **task.checkpoint_state()}
    return {path: np.asarray(variable) for path, variable in variables.items()}


def cross_entropy(logits, target):
    """Mean over rows; `target` holds probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.mean(np.sum(target * log_probabilities, axis=1))


@pytest.mark.parametrize("train_mode", ["pretrain", "supervised"])
def test_evaluate_agrees_with_the_run(tmp_path, train_mode):
    """On 30 images in batches of 16, the last of which is padded; the run's are of another size."""
    result, _, run = execute(config_for(tmp_path, train_steps=2, train_mode=train_mode))
    batches = evaluation_batches(run.prepared.plan.eval_source, image_size=8, batch_size=20)
    found = run.task.evaluate(batches, return_dict=True, verbose=0)
    assert found.keys() == {
        "label_top_1_accuracy",
        "label_top_5_accuracy",
        "supervised_loss",
        "regularization_loss",
        "balanced_accuracy",
    }
    for name, value in found.items():
        assert value == pytest.approx(result[f"eval/{name}"], rel=1e-5), name
    assert run.task.evaluate(batches, verbose=0) == list(found.values())


def test_the_loss_of_the_classifier_is_of_the_labeled_rows():
    task = compiled({"train_mode": "finetune"})
    images, labels = RNG.random([12, 8, 8, 3]), np.array([3, -1, 5, 0, 9, 1, -1, 2, 2, 7, 6, 4])
    mask = np.arange(12) != 4
    batches = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels, "mask": mask}).batch(5)
    found = task.evaluate(batches, return_dict=True, verbose=0)
    rows = np.flatnonzero((labels >= 0) & mask)
    logits = task.network(images, training=False)["logits_sup"].numpy()[rows]
    expected = cross_entropy(logits, np.eye(CLASSES)[labels[rows]])
    assert found["supervised_loss"] == pytest.approx(expected, rel=1e-9)
    accuracy = np.mean(logits.argmax(axis=1) == labels[rows])
    assert found["label_top_1_accuracy"] == pytest.approx(accuracy)
    balanced = balanced_accuracy_score(labels[rows], logits.argmax(axis=1))
    assert found["balanced_accuracy"] == pytest.approx(balanced)


@pytest.mark.parametrize("flags", [{}, {"memory_size": 2 * BATCH}], ids=["plain", "memory"])
def test_pretraining_is_evaluated_on_views_and_changes_nothing(flags):
    task = compiled(flags)
    batch = batch_of(task.config)
    batches = tf.data.Dataset.from_tensors(batch)
    task.fit(batches, verbose=0)
    before = state_of(task)
    found = task.evaluate(batches, return_dict=True, verbose=0)
    assert found.keys() == set(task.train_means)
    for path, value in state_of(task).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    if not flags:
        views = np.concatenate([batch["view_1"], batch["view_2"]])
        endpoints = task.network(views, training=False)
        loss, _, _ = nt_xent(endpoints["proj_head_output"], task.config.objective.temperature)
        assert found["contrast_loss"] == pytest.approx(float(loss), rel=1e-9)
        target = np.eye(CLASSES)[np.tile(batch["label"], 2)]
        expected = cross_entropy(endpoints["logits_sup"].numpy(), target)
        assert found["supervised_loss"] == pytest.approx(expected, rel=1e-9)
        parts = (found[name] for name in ("contrast_loss", "supervised_loss", "weight_decay"))
        assert found["total_loss"] == pytest.approx(sum(parts), rel=1e-9)


def test_distillation_is_evaluated_on_unlabeled_images():
    """Each image counts once, although the last batch is smaller."""
    task = compiled({"train_mode": "distill", "distill_alpha": 1.0})
    images = RNG.random([7, 8, 8, 3])
    found = task.evaluate(
        tf.data.Dataset.from_tensor_slices({"image": images}).batch(4), return_dict=True, verbose=0
    )
    teacher = linear_teacher(tf.constant(images)).numpy() / task.config.distillation.distill_temperature
    student = task.network(images, training=False)["logits_sup"].numpy()
    target = np.exp(teacher - teacher.max(axis=1, keepdims=True))
    target /= target.sum(axis=1, keepdims=True)
    loss = cross_entropy(student / task.config.distillation.distill_temperature, target)
    assert found["distillation_loss"] == pytest.approx(loss, rel=1e-9)
    agreement = np.mean(teacher.argmax(axis=1) == student.argmax(axis=1))
    assert found["teacher_agreement"] == pytest.approx(agreement)
    labeled = {"image": images, "label": np.arange(7)}
    found = task.evaluate(tf.data.Dataset.from_tensors(labeled), return_dict=True, verbose=0)
    accuracy = np.mean(student.argmax(axis=1) == np.arange(7))
    assert found["label_top_1_accuracy"] == pytest.approx(accuracy)


def test_distillation_is_evaluated_on_labeled_and_unlabeled_images():
    task = compiled({"train_mode": "distill", "distill_alpha": 0.5})
    found = task.evaluate(tf.data.Dataset.from_tensors(batch_of(task.config)), return_dict=True, verbose=0)
    assert found.keys() == set(task.train_means)


def test_evaluate_on_replicas(replicas):
    """The images are shared out among the replicas; each counts once."""
    batch = batch_of(config_of({**SMALL, "train_mode": "finetune"}))
    batches = tf.data.Dataset.from_tensors(batch)
    results = []
    for count in (1, 2):
        keras.utils.set_random_seed(0)
        with replicas(count).scope():
            task = compiled({"train_mode": "finetune"})
        results.append(task.evaluate(batches, return_dict=True, verbose=0))
    assert results[1] == pytest.approx(results[0], rel=1e-6)


def test_fit_validates():
    task = compiled({"train_mode": "finetune"})
    batches = tf.data.Dataset.from_tensors(batch_of(task.config))
    history = task.fit(batches, validation_data=batches, epochs=2, verbose=0).history
    found = task.evaluate(batches, return_dict=True, verbose=0)
    for name, value in found.items():
        assert history[f"val_{name}"][-1] == pytest.approx(value, rel=1e-9)


def test_unlabeled_images_have_no_accuracy():
    task = compiled({"train_mode": "finetune"})
    batch = {**batch_of(task.config), "label": np.full(BATCH, -1)}
    found = task.evaluate(tf.data.Dataset.from_tensors(batch), return_dict=True, verbose=0)
    assert found.keys() == {"regularization_loss"}
    assert task.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0) == found["regularization_loss"]


def test_what_cannot_be_evaluated():
    finetuning, pretraining = compiled({"train_mode": "finetune"}), compiled({})
    views, labeled = batch_of(pretraining.config), batch_of(finetuning.config)
    of_views, of_images = (tf.data.Dataset.from_tensors(batch) for batch in (views, labeled))
    with pytest.raises(ConfigError, match=r"endless; pass steps=N"):
        finetuning.evaluate(of_images.repeat(), verbose=0)
    finetuning.evaluate(of_images.repeat(), steps=2, verbose=0)
    needs = "FineTuning evaluates batches of image and label"
    with pytest.raises(ConfigError, match=f"holds view_1, view_2, label; {needs}"):
        finetuning.evaluate(of_views, verbose=0)
    with pytest.raises(ConfigError, match=f"holds a tuple, not a dict; {needs}"):
        finetuning.evaluate(labeled["image"], labeled["label"], verbose=0)
    images = of_images.map(lambda batch: {"image": batch["image"]})
    with pytest.raises(ConfigError, match="image and label, or of view_1, view_2, label"):
        pretraining.evaluate(images, verbose=0)
