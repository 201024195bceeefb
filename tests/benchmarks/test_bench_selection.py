"""The benchmark of selection, on made-up clusters."""

import dataclasses

import numpy as np

from benchmarks import selection
from tests.embedding.made_up import embeddings_of


def made_up(rows: int, seed: int):
    """Four classes, each a cluster."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 4
    vectors = 3 * np.eye(6)[labels] + 0.5 * rng.standard_normal([rows, 6])
    return dataclasses.replace(
        embeddings_of(vectors), classes=np.array([f"c{label}" for label in labels], object)
    )


def test_a_cluster_each_is_found_with_one_label_per_class():
    train, test = made_up(300, 0), made_up(200, 1)
    found = selection.measure(train, test, draws=2)
    assert found.keys() == set(selection.STRATEGIES)
    assert all(len(values) == 2 for by_budget in found.values() for values in by_budget.values())
    assert min(found["typical"][1]) > 0.95 > np.mean(found["uniform"][1])
    lines = selection.table(found).splitlines()
    assert lines[0] == "| chosen by | 1 per class | 4 per class | 10 per class |" and len(lines) == 5
