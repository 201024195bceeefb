"""The linear protocol of a run: the encoder beside a random one and raw pixels, all labels and few."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Source, evaluation_batches
from tf_simclrv2.evaluation.features import RAW_PIXELS, Features, extract_features
from tf_simclrv2.evaluation.linear_probe import labels_per_class_subset, linear_probe
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.simclr import SimCLR

RANDOM_ENCODER = "random_encoder"
BASELINE_ENDPOINT = "final_avg_pool"


def run_linear_protocol(
    network: SimCLR, train: Source, test: Source, config: ExperimentConfig, say: Callable[[str], None]
) -> dict[str, float]:
    """Fits linear classifiers to frozen features and tells what they reach.

    Args:
        network: The trained network.
        train: Labelled images to fit on.
        test: Labelled images to test on.
        config: Which endpoints, whether to show baselines, and how few labels to try.
        say: Where the table goes.

    Returns:
        Top-1 accuracies by `linear/<endpoint>/top_1_accuracy`, and `linear_<n>_per_class/…`.
    """
    if not (train.has_labels and test.has_labels):
        say("linear evaluation is off: both splits need labels")
        return {}
    random = _random_network(network, train, config) if config.evaluation.probe_baselines else None
    train_features, train_labels = _features(network, random, train, config)
    test_features, test_labels = _features(network, random, test, config)
    subsets = {"linear": ("all labels", np.arange(len(train_labels)))}
    few = config.evaluation.probe_labels_per_class
    if few:
        rows = labels_per_class_subset(train_labels, few, config.training.seed)
        subsets[f"linear_{few}_per_class"] = (f"{few} labels a class", rows)
    result: dict[str, float] = {}
    for prefix, (title, rows) in subsets.items():
        say(f"linear evaluation on frozen features, {title}, top-1 on {len(test_labels)} images:")
        for name in train_features:
            probe = linear_probe(
                train_features[name][rows],
                train_labels[rows],
                test_features[name],
                test_labels,
                config.training.seed,
            )
            result[f"{prefix}/{name}/top_1_accuracy"] = probe.accuracy
            say(f"  {name:<16}{probe.accuracy:.4f}")
    return result


def _features(
    network: SimCLR, random: SimCLR | None, source: Source, config: ExperimentConfig
) -> tuple[Features, np.ndarray]:
    """Features of a split by row of the table, the trained encoder's first, then the baselines'."""
    batches = _batches(source, config)
    endpoints = config.evaluation.probe_endpoints
    if random is None:
        return extract_features(network, batches, endpoints)
    features, labels = extract_features(network, batches, (*endpoints, RAW_PIXELS))
    raw = features.pop(RAW_PIXELS)
    untrained, _ = extract_features(random, batches, (BASELINE_ENDPOINT,))
    return {**features, RANDOM_ENCODER: untrained[BASELINE_ENDPOINT], RAW_PIXELS: raw}, labels


def _batches(source: Source, config: ExperimentConfig) -> tf.data.Dataset:
    return evaluation_batches(
        source, image_size=config.model.image_size, batch_size=config.evaluation.eval_batch_size
    )


def _random_network(network: SimCLR, source: Source, config: ExperimentConfig) -> SimCLR:
    """A new network of the same shape with random weights, made as good as random weights are.

    As initialised, residual branches are off and batch norm knows nothing of the images; here the
    branches are on, and the statistics are those of a batch of images.
    """
    shape = dataclasses.replace(network.config, batch_norm_decay=0.0, fine_tune_after_block=-1)
    random = SimCLR(shape, name="random", dtype=network.dtype_policy)
    random.build((None, shape.image_size, shape.image_size, 3))
    for norm in (layer for layer in random._flatten_layers() if isinstance(layer, BatchNormRelu)):
        norm.gamma.assign(tf.ones_like(norm.gamma))
    batch = next(iter(_batches(source, config)))
    random(batch["image"][batch["mask"]], training=True)
    return random
