"""Evaluation protocols on frozen features: linear classifiers and nearest neighbors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import EvaluationConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.data import Source, draw_per_class
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.features import RAW_PIXELS, FeatureExtractor, Features
from tf_simclrv2.evaluation.linear_probe import linear_probe
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS, knn_accuracy
from tf_simclrv2.evaluation.split_features import labeled_rows, split_batches, split_features
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.private_api import layers_within
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say

RANDOM_ENCODER = "random_encoder"
BASELINE_ENDPOINT = "final_avg_pool"
ALL_ENDPOINTS = "all"
FROZEN_PROTOCOLS = ("linear", "knn")

Accuracy = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Describes one protocol: a table on the terminal, with a row for each kind of features.

    Attributes:
        key: Prefix of the names of its results.
        title: Its heading on the terminal.
        rows: int [n], indices of the training images that it may use.
        accuracy: Maps train features, train labels, test features and test labels to top-1 accuracy.
    """

    key: str
    title: str
    rows: np.ndarray
    accuracy: Accuracy


def run_frozen_protocols(
    network: SimCLR, train: Source, test: Source, config: ExperimentConfig, say: Say
) -> dict[str, float]:
    """Evaluates a network by the protocols that need only its features.

    Args:
        network: The trained network.
        train: Labeled images to fit classifiers to, and to find neighbors among.
        test: Labeled images to test on.
        config: Names the protocols and endpoints, whether to add baselines, and how few labels to try.
        say: Receives the tables, line by line, and the reason if a protocol is left out.

    Returns:
        Top-1 accuracies in [0, 1], named `linear/<endpoint>/top_1_accuracy`, `linear_<n>_per_class/…`,
        `knn_20/…` and `knn_200/…`; empty if a split has no labels.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.
    """
    if not (train.has_labels and test.has_labels):
        say("evaluation of frozen features is off: both splits need labels")
        return {}
    random = _random_network(network, train, config) if config.evaluation.probe_baselines else None
    train_features, train_labels = _features(network, random, train, config, say)
    test_features, test_labels = _features(network, random, test, config, say)
    for source, labels in ((train, train_labels), (test, test_labels)):
        if not len(labels):
            say(f"evaluation of frozen features is off: no image of {source.name} has a label")
            return {}
    if "linear" in config.evaluation.protocols and not _can_be_separated(train_labels):
        say(f"linear evaluation is off: all images of {train.name} are of one class")
    result: dict[str, float] = {}
    for protocol in _protocols(config, train_labels):
        say(f"{protocol.title}, top-1 on {len(test_labels)} images:")
        rows = protocol.rows
        for name, features in train_features.items():
            accuracy = protocol.accuracy(features[rows], train_labels[rows], test_features[name], test_labels)
            result[f"{protocol.key}/{name}/top_1_accuracy"] = accuracy
            say(f"  {name:<16}{accuracy:.4f}")
    return result


def probed_endpoints(evaluation: EvaluationConfig, model: ModelConfig) -> tuple[str, ...]:
    """Returns the endpoints to evaluate; `all` stands for h and the head layers in use.

    Args:
        evaluation: Holds `probe_endpoints`.
        model: The architecture.

    Raises:
        ConfigError: The network has no endpoint of one of the names.
    """
    known = ("final_avg_pool", *(f"proj_head_{i}" for i in range(1, model.num_used_head_layers + 1)))
    for name in evaluation.probe_endpoints:
        if name not in (*known, ALL_ENDPOINTS):
            raise ConfigError(f"probe_endpoints has {name!r}; choose among {', '.join(known)}, or all.")
    return known if ALL_ENDPOINTS in evaluation.probe_endpoints else evaluation.probe_endpoints


def _protocols(config: ExperimentConfig, labels: np.ndarray) -> Iterator[Protocol]:
    seed, few = config.training.seed, config.evaluation.probe_labels_per_class
    every = np.arange(len(labels))

    def linear(*data: np.ndarray) -> float:
        return linear_probe(*data, seed=seed).accuracy

    if "linear" in config.evaluation.protocols and _can_be_separated(labels):
        title = "linear evaluation on frozen features"
        yield Protocol("linear", f"{title}, all labels", every, linear)
        if few:
            rows = draw_per_class(labels, few, config.data.label_seed)
            yield Protocol(f"linear_{few}_per_class", f"{title}, {few} labels per class", rows, linear)
    if "knn" in config.evaluation.protocols:
        for k in NEIGHBORS:
            yield Protocol(f"knn_{k}", f"{k} nearest neighbors", every, functools.partial(knn_accuracy, k=k))


def _can_be_separated(labels: np.ndarray) -> bool:
    return len(np.unique(labels)) > 1


def _features(
    network: SimCLR, random: SimCLR | None, source: Source, config: ExperimentConfig, say: Say
) -> tuple[Features, np.ndarray]:
    """Extracts the features of labeled images, a row of the table each, the trained encoder's first."""
    endpoints = probed_endpoints(config.evaluation, network.config)
    if random is None:
        return labeled_rows(*split_features(FeatureExtractor(network, endpoints), source, config, say))
    extract = FeatureExtractor(network, (*endpoints, RAW_PIXELS))
    features, labels = split_features(extract, source, config, say)
    raw = features.pop(RAW_PIXELS)
    untrained, _ = split_features(FeatureExtractor(random, [BASELINE_ENDPOINT]), source, config, say)
    return labeled_rows({**features, RANDOM_ENCODER: untrained[BASELINE_ENDPOINT], RAW_PIXELS: raw}, labels)


def _random_network(network: SimCLR, source: Source, config: ExperimentConfig) -> SimCLR:
    """Creates a network of the same shape with random weights, as a fair baseline.

    In a newly initialized network residual branches are off and the statistics of batch norm fit no images.
    Here the branches are on, and the statistics are those of a batch of images.
    """
    shape = dataclasses.replace(network.config, batch_norm_decay=0.0, fine_tune_after_block=-1)
    random = SimCLR(shape, name="random", dtype=network.dtype_policy)
    random.build((None, shape.image_size, shape.image_size, 3))
    for norm in (layer for layer in layers_within(random) if isinstance(layer, BatchNormRelu)):
        norm.gamma.assign(tf.ones_like(norm.gamma))
    with split_batches(source, config) as batches:
        batch = next(iter(batches))
    random(batch["image"][batch["mask"]], training=True)
    return random
