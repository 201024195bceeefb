"""Rows without a label count in no accuracy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_network import small_network as small_network
from tests.tasks.batches import BATCH, config_of
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import LARS
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.progress import Progress
from tf_simclrv2.tasks import build_task
from tf_simclrv2.training import evaluation

FLAGS = {"resnet_depth": 18, "image_size": 8, "train_mode": "supervised"}
# The second half, and so a replica of two or two of four, has no label at all.
LABELS = np.array([3, -1, 5, 0, -1, -1, -1, -1])
MASK = np.array([True] * (BATCH - 5) + [False] + [True] * 4)


def images() -> np.ndarray:
    return np.random.default_rng(0).random([BATCH, 8, 8, 3])


def means_after(replicas, labels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """What the evaluator reports of a batch, and the logits."""
    keras.utils.set_random_seed(0)
    with replicas.scope():
        task = build_task(config_of(FLAGS))
        task.compile(LARS(0.0))
    head = task.network.supervised_head
    for variable in head.variables:  # As initialized, its logits hardly differ.
        variable.assign(np.random.default_rng(1).standard_normal(variable.shape))

    def step(image, label, mask):
        return task.test_step({"image": image, "label": label, "mask": mask})

    replicas.run(step, images(), labels, MASK)
    evaluator = ClassificationEvaluator(
        task, tf.data.Dataset.range(1), replicas.strategy, Progress("x", 1, print)
    )
    return evaluator.eval_end(), task.network(tf.constant(images()), training=False)["logits_sup"].numpy()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_accuracy_is_of_the_labeled_rows(replicas, count):
    found, logits = means_after(replicas(count), LABELS)
    order = np.argsort(-logits, axis=1)
    rows = np.flatnonzero((LABELS >= 0) & MASK)
    for k in (1, 5):
        expected = np.mean([LABELS[row] in order[row, :k] for row in rows])
        assert found[f"eval/label_top_{k}_accuracy"] == pytest.approx(expected)
    balanced = [np.mean(order[rows[LABELS[rows] == label], 0] == label) for label in np.unique(LABELS[rows])]
    assert found["eval/balanced_accuracy"] == pytest.approx(np.mean(balanced))
    everything, _ = means_after(replicas(count), np.where(LABELS < 0, -1, order[:, 0]))
    assert everything["eval/label_top_1_accuracy"] == everything["eval/label_top_5_accuracy"] == 1.0
    assert everything["eval/balanced_accuracy"] == 1.0


@pytest.mark.parametrize("count", [1, 2])
def test_without_any_label_there_is_no_accuracy(replicas, count):
    found, _ = means_after(replicas(count), np.full(BATCH, -1))
    assert found.keys() == {"eval/regularization_loss"}


@pytest.mark.parametrize("microbatch_size", [0, 4])
@pytest.mark.parametrize("count", [1, 2])
def test_the_accuracy_of_training_is_of_the_labeled_rows(replicas, count, microbatch_size):
    """On two replicas one of them has no label; parts of the batch have more or fewer."""
    with replicas(count).scope():
        task = build_task(config_of({**FLAGS, "train_batch_size": BATCH, "microbatch_size": microbatch_size}))
        task.compile(LARS(0.0))
    (bias,) = (v for v in task.network.supervised_head.variables if v.path.endswith("bias"))
    bias.assign(1e3 * np.eye(bias.shape[0])[3])
    labels = np.array([3, -1, 3, 4, -1, -1, -1, -1])

    def step(image, label):
        return task.train_step({"image": image, "label": label})["supervised_acc"]

    replicas(count).run(step, images(), labels)
    assert float(task.train_means["supervised_acc"].result()) == pytest.approx(2 / 3)
    replicas(count).run(step, images(), np.full(BATCH, -1))  # Adds nothing.
    assert float(task.train_means["supervised_acc"].result()) == pytest.approx(2 / 3)


def test_a_split_in_which_no_image_has_a_label(tmp_path, monkeypatch):
    """ImageNet's test split has a label feature, but only -1 in it."""
    whole = evaluation.evaluation_batches

    def hidden(source, **options):
        return whole(source, **options).map(lambda batch: {**batch, "label": -tf.ones_like(batch["label"])})

    monkeypatch.setattr(evaluation, "evaluation_batches", hidden)
    config = config_for(tmp_path, train_mode="supervised", train_steps=1)
    result, lines, _ = execute(config)
    assert not [name for name in result if "accuracy" in name] and "eval/regularization_loss" in result
    assert "accuracy is not evaluated: no image of digits/test[:30] has a label" in lines
