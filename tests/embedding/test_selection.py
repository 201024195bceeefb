"""The strategies choose what their papers say."""

import numpy as np
import pytest

from tf_simclrv2 import ConfigError
from tf_simclrv2.embedding.selection import STRATEGIES, Candidates, choose

RNG = np.random.default_rng(8)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def candidates(rows, labeled=(), margins=None, seed=0) -> Candidates:
    margins = np.full(len(rows), np.nan, np.float32) if margins is None else margins
    return Candidates(unit(rows), margins, np.isin(np.arange(len(rows)), labeled), seed)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Five clusters of different sizes around orthogonal axes, and the cluster of each row."""
    cluster = np.repeat(np.arange(5), [60, 50, 40, 30, 20])
    return np.eye(8)[cluster] + 0.1 * RNG.standard_normal([200, 8]), cluster


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budget", [1, 7, 150])
def test_different_images_without_a_label_are_chosen(blobs, strategy, budget):
    rows, _ = blobs
    labeled, margins = np.arange(0, 200, 4), RNG.random(200)
    chosen = choose(strategy, candidates(rows, labeled, margins), budget)
    assert len(set(chosen.tolist())) == len(chosen) == budget
    assert not set(chosen.tolist()) & set(labeled.tolist())
    again = choose(strategy, candidates(rows, labeled, margins), budget)
    np.testing.assert_array_equal(again, chosen)


def test_typical_takes_the_middle_of_each_cluster_the_largest_first(blobs):
    rows, cluster = blobs
    chosen = choose("typical", candidates(rows), 5)
    assert cluster[chosen].tolist() == [0, 1, 2, 3, 4]
    for row in chosen:
        own = unit(rows)[cluster == cluster[row]]
        distances = np.sort(np.linalg.norm(own[:, None] - own[None], axis=2), axis=1)[:, 1:21].mean(axis=1)
        place = np.flatnonzero(np.flatnonzero(cluster == cluster[row]) == row)[0]
        assert distances[place] == pytest.approx(distances.min(), rel=1e-4)


def test_typical_leaves_clusters_with_a_label_for_later(blobs):
    rows, cluster = blobs
    labeled = [int(np.flatnonzero(cluster == number)[0]) for number in (0, 2)]
    chosen = choose("typical", candidates(rows, labeled), 3)
    assert set(cluster[chosen].tolist()) == {1, 3, 4}


def test_coverage_takes_the_farthest_image(blobs):
    rows, _ = blobs
    labeled = [17]
    chosen = choose("coverage", candidates(rows, labeled), 20)
    vectors, centers = unit(rows).astype(np.float64), list(labeled)
    for row in chosen:
        distances = np.linalg.norm(vectors[:, None] - vectors[centers][None], axis=2).min(axis=1)
        assert distances[row] == pytest.approx(distances.max(), rel=1e-5)
        centers.append(int(row))


def test_coverage_begins_in_the_middle(blobs):
    rows, _ = blobs
    (first,) = choose("coverage", candidates(rows), 1)
    vectors = unit(rows).astype(np.float64)
    assert first == np.argmax(vectors @ vectors.mean(axis=0))


def test_margin_takes_uncertain_images_of_different_clusters(blobs):
    rows, cluster = blobs
    margins = np.full(200, 0.9, np.float32)
    uncertain = np.concatenate([np.flatnonzero(cluster == number)[:10] for number in range(5)])
    margins[uncertain] = 0.1 + 0.001 * np.arange(50)
    chosen = choose("margin", candidates(rows, margins=margins), 5)
    assert set(cluster[chosen].tolist()) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(np.sort(chosen), uncertain[::10])  # The smallest of each cluster.


def test_margin_needs_a_classifier(blobs):
    with pytest.raises(ConfigError, match="the network has no classifier"):
        choose("margin", candidates(blobs[0]), 5)


def test_uniform_depends_on_the_seed(blobs):
    draws = {tuple(choose("uniform", candidates(blobs[0], seed=seed), 10).tolist()) for seed in range(5)}
    assert len(draws) == 5
