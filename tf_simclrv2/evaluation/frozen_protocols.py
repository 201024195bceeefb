"""Protocols on frozen features, extracted once: linear classifiers and nearest neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import EvaluationConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.data import SkippedImages, Source, draw_per_class, evaluation_batches
from tf_simclrv2.data.image_folder import UNLABELLED
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.features import RAW_PIXELS, Features, extract_features
from tf_simclrv2.evaluation.linear_probe import linear_probe
from tf_simclrv2.evaluation.nearest_neighbours import NEIGHBOURS, knn_accuracy
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say, track_batches

RANDOM_ENCODER = "random_encoder"
BASELINE_ENDPOINT = "final_avg_pool"
ALL_ENDPOINTS = "all"
FROZEN_PROTOCOLS = ("linear", "knn")

Accuracy = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One table of the report.

    Attributes:
        key: What its results begin with.
        title: What it is called on the terminal.
        rows: Indices of the training images that it may use.
        accuracy: (train features, train labels, test features, test labels) to top-1.
    """

    key: str
    title: str
    rows: np.ndarray
    accuracy: Accuracy


def run_frozen_protocols(
    network: SimCLR, train: Source, test: Source, config: ExperimentConfig, say: Say
) -> dict[str, float]:
    """Runs the protocols that need only features, and tells what they reach.

    Args:
        network: The trained network.
        train: Labelled images to learn from.
        test: Labelled images to test on.
        config: Which protocols and endpoints, whether to show baselines, and how few labels to try.
        say: Where the tables go.

    Returns:
        Top-1 accuracies by `linear/<endpoint>/top_1_accuracy`, `linear_<n>_per_class/…`, `knn_20/…` and
        `knn_200/…`.

    Raises:
        ConfigError: More images are unreadable than `max_skipped_fraction` allows.
    """
    if not (train.has_labels and test.has_labels):
        say("evaluation of frozen features is off: both splits need labels")
        return {}
    random = _random_network(network, train, config) if config.evaluation.probe_baselines else None
    train_features, train_labels = _labelled(*_features(network, random, train, config, say))
    test_features, test_labels = _labelled(*_features(network, random, test, config, say))
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
    """The endpoints to look at, `all` spelled out: h and the head layers in use.

    Raises:
        ConfigError: There is no such endpoint.
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
            yield Protocol(f"linear_{few}_per_class", f"{title}, {few} labels a class", rows, linear)
    if "knn" in config.evaluation.protocols:
        for k in NEIGHBOURS:
            yield Protocol(f"knn_{k}", f"{k} nearest neighbours", every, _neighbours(k))


def _can_be_separated(labels: np.ndarray) -> bool:
    return len(np.unique(labels)) > 1


def _neighbours(k: int) -> Accuracy:
    return lambda *data: knn_accuracy(*data, k=k)


def _features(
    network: SimCLR, random: SimCLR | None, source: Source, config: ExperimentConfig, say: Say
) -> tuple[Features, np.ndarray]:
    """Features of a split by row of the table, the trained encoder's first, then the baselines'."""
    skipped = _skipped(source, config)
    batches = _batches(source, config, skipped)
    endpoints = probed_endpoints(config.evaluation, network.config)

    def extract(network: SimCLR, *endpoints: str) -> tuple[Features, np.ndarray]:
        what = f"features of {source.name}"
        tracked = track_batches(batches, what, config.evaluation.eval_batch_size, say)
        return extract_features(network, tracked, endpoints)

    with skipped.explained():
        if random is None:
            return extract(network, *endpoints)
        features, labels = extract(network, *endpoints, RAW_PIXELS)
        raw = features.pop(RAW_PIXELS)
        untrained, _ = extract(random, BASELINE_ENDPOINT)
    return {**features, RANDOM_ENCODER: untrained[BASELINE_ENDPOINT], RAW_PIXELS: raw}, labels


def _labelled(features: Features, labels: np.ndarray) -> tuple[Features, np.ndarray]:
    """Leaves out rows without a label, which some TFDS splits have."""
    rows = labels != UNLABELLED
    if rows.all():  # Spares a copy.
        return features, labels
    return {name: feature[rows] for name, feature in features.items()}, labels[rows]


def _skipped(source: Source, config: ExperimentConfig) -> SkippedImages:
    return SkippedImages(source.num_examples, config.data.max_skipped_fraction)


def _batches(source: Source, config: ExperimentConfig, skipped: SkippedImages) -> tf.data.Dataset:
    return evaluation_batches(
        source,
        image_size=config.model.image_size,
        batch_size=config.evaluation.eval_batch_size,
        skipped=skipped,
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
    skipped = _skipped(source, config)
    with skipped.explained():
        batch = next(iter(_batches(source, config, skipped)))
    random(batch["image"][batch["mask"]], training=True)
    return random
