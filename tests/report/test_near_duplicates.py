"""Near-duplicates within a split and between two, against a comparison of every pair."""

import itertools

import numpy as np
import pytest

from tests.report.made_up_runs import sample_of
from tf_simclrv2.evaluation import similar_pairs
from tf_simclrv2.report import near_duplicates as module
from tf_simclrv2.report.near_duplicates import median_cosine, near_duplicates

WIDTH = 16


def features(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[rows, WIDTH]).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("block", [7, 1024])
def test_every_pair_is_compared_once(monkeypatch, block):
    monkeypatch.setattr(similar_pairs, "_ROWS", block)
    rng = np.random.default_rng(1)
    train, test = features(40, 2), features(30, 3)
    train[5:15] = train[20:30] + 0.05 * rng.normal(size=[10, WIDTH])
    test[:6] = 3 * train[:6] + 0.05 * rng.normal(size=[6, WIDTH])
    samples = sample_of("test", test), sample_of("train", train)
    between, within_test, within_train = near_duplicates(samples)
    assert between.sources == ("test", "train") and between.looked_at == ((30, 30), (40, 40))
    for duplicates, a, b in ((between, test, train), (within_test, test, test), (within_train, train, train)):
        pairs = itertools.combinations(range(len(a)), 2) if a is b else np.ndindex(len(a), len(b))
        expected = {(i, j): cosine(a[i], b[j]) for i, j in pairs if cosine(a[i], b[j]) > 0.99}
        found = {tuple(int(name.split()[1]) for name in pair.names): pair.cosine for pair in duplicates.pairs}
        assert duplicates.count == len(expected) and found == pytest.approx(expected, abs=1e-5)
        cosines = [pair.cosine for pair in duplicates.pairs]
        assert cosines == sorted(cosines, reverse=True)
    assert between.count >= 6 and within_train.count >= 8


def test_pictures_and_labels_are_those_of_the_pair():
    h = features(6, 0)
    h[4] = 2 * h[1]
    sample = sample_of("train", h)
    (found,) = near_duplicates([sample])
    (pair,) = found.pairs
    assert pair.names == ("train 1", "train 4") and pair.labels == (1, 4)
    np.testing.assert_array_equal(found.images[0], sample.images[[1, 4]])


def test_only_the_most_similar_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(similar_pairs, "_ROWS", 16)
    same = np.tile(features(1, 0), [50, 1]) + 1e-3 * features(50, 1)
    (found,) = near_duplicates([sample_of("train", same)])
    assert found.count == 50 * 49 // 2 and len(found.pairs) == len(found.images) == module.KEPT
    unit = same / np.linalg.norm(same, axis=1, keepdims=True)
    highest = np.sort((unit @ unit.T)[np.triu_indices(50, k=1)])[::-1][: module.KEPT]
    np.testing.assert_allclose([pair.cosine for pair in found.pairs], highest, atol=1e-6)


def test_a_file_of_both_splits_is_no_pair_with_itself():
    """As with `--train_split=train --eval_split=train[80%:]`; a copy by another name is one."""
    train = features(10, 0)
    test = np.concatenate([train[7:], train[:1]])
    names = tuple(f"train {i}" for i in (7, 8, 9))
    samples = sample_of("test", test, names=(*names, "copy 0")), sample_of("train", train)
    between, *_ = near_duplicates(samples)
    assert between.same_files == 3 and between.count == 1
    assert between.pairs[0].names == ("copy 0", "train 0")
    elsewhere = sample_of("test", test, names=(*names, "copy 0"), folder="/other"), samples[1]
    assert near_duplicates(elsewhere)[0].same_files == 0


def test_median_cosine():
    h = features(20, 0)
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    pairs = [cosine(a, b) for a, b in itertools.combinations(unit, 2)]
    assert median_cosine(unit) == pytest.approx(np.median(pairs), abs=1e-6)
    assert median_cosine(unit[:1]) == 0.0
