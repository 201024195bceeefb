"""Every evaluation on frozen features goes through a split in the same way."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2 import DataConfig, EvaluationConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.data import Source, load_source
from tf_simclrv2.evaluation.features import RAW_PIXELS, FeatureExtractor
from tf_simclrv2.evaluation.split_features import labeled_rows, split_batches, split_features

CONFIG = ExperimentConfig(
    model=ModelConfig(resnet_depth=18, image_size=8), evaluation=EvaluationConfig(eval_batch_size=16)
)


@pytest.fixture
def source() -> Source:
    return load_source(DataConfig(dataset="digits"), "train[:40]")


def _pixels() -> FeatureExtractor:
    return FeatureExtractor(lambda images, training: {}, [RAW_PIXELS])


def test_each_image_is_taken_once_and_the_callback_sees_every_batch(source: Source) -> None:
    seen = []
    features, labels = split_features(
        _pixels(), source, CONFIG, on_batch=lambda batch: seen.append(batch["image"][batch["mask"]])
    )
    assert features[RAW_PIXELS].shape == (40, 8 * 8 * 3)
    assert labels.shape == (40,)
    assert len(seen) == 3
    np.testing.assert_array_equal(tf.reshape(tf.concat(seen, 0), [40, -1]), features[RAW_PIXELS])


def test_a_batch_is_not_larger_than_the_split(source: Source) -> None:
    with split_batches(source.sample(5), CONFIG) as batches:
        assert [len(batch["image"]) for batch in batches] == [5]


def test_unlabeled_rows_are_dropped() -> None:
    features = {"h": np.arange(6.0).reshape(3, 2)}
    kept, labels = labeled_rows(features, np.array([4, -1, 0]))
    np.testing.assert_array_equal(kept["h"], features["h"][[0, 2]])
    np.testing.assert_array_equal(labels, [4, 0])
    assert labeled_rows(features, np.array([1, 2, 3]))[0] is features
