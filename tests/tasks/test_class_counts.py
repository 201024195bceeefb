"""Right answers by class, counted over replicas and batches, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tf_simclrv2.tasks.class_counts import ClassCounts

CLASSES = 6


@pytest.mark.parametrize("count", [1, 2, 4])
def test_balanced_accuracy_over_replicas_and_batches(replicas, count):
    rng = np.random.default_rng(0)
    labels = rng.choice([-1, 0, 1, 2, 4, 5], [3, 16], p=[0.1, 0.5, 0.2, 0.1, 0.05, 0.05])
    predictions = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, CLASSES, labels.shape))
    mask = (rng.random(labels.shape) < 0.8).astype(np.float32)
    run = replicas(count)
    with run.scope():
        counts = ClassCounts(CLASSES)

    def update(correct, labels, weight):
        counts.update_state(correct, labels, sample_weight=weight)
        return correct

    for batch in range(3):
        correct = (predictions[batch] == labels[batch]).astype(np.float32)
        run.run(update, correct, labels[batch], mask[batch])
    counted = (mask > 0) & (labels >= 0)
    expected = balanced_accuracy_score(labels[counted], predictions[counted])
    assert float(counts.result()) == pytest.approx(expected)
    counts.reset_state()
    assert float(counts.result()) == 0.0
