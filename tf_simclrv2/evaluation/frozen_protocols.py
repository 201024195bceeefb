"""Evaluation protocols on frozen features: linear classifiers and nearest neighbors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import EvaluationConfig, ExperimentConfig, ModelConfig
from tf_simclrv2.data import SkippedImages, Source, draw_per_class
from tf_simclrv2.distribution.strategy import is_chief
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.evaluation.class_accuracy import BALANCED, TOP_1, ClassAccuracy
from tf_simclrv2.evaluation.features import RAW_PIXELS, FeatureExtractor, Features
from tf_simclrv2.evaluation.linear_probe import linear_predictions
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS, nearest_rows, vote
from tf_simclrv2.evaluation.random_encoder import random_encoder
from tf_simclrv2.evaluation.split_features import labeled_rows, split_features
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say, phase, track

RANDOM_ENCODER = "random_encoder"
BASELINE_ENDPOINT = "final_avg_pool"
# The encoder that fine-tuning started from.
STARTING_ENCODER = "starting_encoder"
BASELINES = (RANDOM_ENCODER, STARTING_ENCODER, RAW_PIXELS)
ALL_ENDPOINTS = "all"
FROZEN_PROTOCOLS = ("linear", "knn")

# Bytes of raw pixels, of all images of a split, that may be kept as features.
MOST_PIXELS = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Split:
    """Features and labels of a split.

    Attributes:
        features: [examples, width] by the name of the row of a table.
        labels: int64 [examples].
    """

    features: Features
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Table:
    """The results of one protocol.

    Attributes:
        key: Prefix of the names of its results.
        title: Its heading on the terminal.
        predictions: Predicted classes of the test images by the name of the features, int [M]; an iterator
            computes one after the other.
    """

    key: str
    title: str
    predictions: Iterator[tuple[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class FrozenResult:
    """What the protocols found.

    Attributes:
        scores: For each protocol and kind of features, `<key>/<features>/top_1_accuracy` and
            `…/balanced_accuracy` in [0, 1]; for those of the network also `…/accuracy_per_class`, a dict.
        labels: int [M], of the test images that have one.
        predictions: For each protocol and endpoint of the network, int [M].
        train_labels: How many training images have a label; 0 if it is not known.
    """

    scores: dict[str, Any]
    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    train_labels: int = 0


NOTHING = FrozenResult({}, np.zeros(0, np.int64), {})


def run_frozen_protocols(
    network: SimCLR,
    train: Source,
    test: Source,
    config: ExperimentConfig,
    say: Say,
    strategy: tf.distribute.Strategy | None = None,
    pool: Source | None = None,
) -> FrozenResult:
    """Evaluates a network by the protocols that need only its features.

    Args:
        network: The trained network.
        train: Labeled images to fit classifiers to, and to find neighbors among.
        test: Labeled images to test on.
        config: Names the protocols and endpoints, whether to add baselines, and how few labels to try.
        say: Receives the tables, line by line, and the reason if a protocol is left out.
        strategy: What the network was made under, on all replicas of which features are extracted; by default
            the device at hand. All workers of a cluster must call this together.
        pool: Images for the batch statistics of a network with random weights; None (the default) takes
            `train`, which may be few.

    Returns:
        The result of the protocols `linear`, `linear_<n>_per_class`, `knn_20` and `knn_200`; without any if a
        split has no labels, and on all workers but the chief.

    Raises:
        DataError: More images are unreadable than `max_skipped_fraction` allows.
        RunError: There is no room for the features.
    """
    if not (train.has_labels and test.has_labels):
        say("evaluation of frozen features is off: both splits need labels")
        return NOTHING
    strategy = strategy or tf.distribute.get_strategy()
    with phase("building the networks to evaluate", say):
        extractors = _extractors(network, pool or train, config, strategy)
    fitted, tested = (_split(extractors, source, config, say) for source in (train, test))
    if not is_chief(strategy):
        return NOTHING
    for source, split in ((train, fitted), (test, tested)):
        if not len(split.labels):
            say(f"evaluation of frozen features is off: no image of {source.name} has a label")
            return NOTHING
    if "linear" in config.evaluation.protocols and not _can_be_separated(fitted.labels):
        say(f"linear evaluation is off: all images of {train.name} are of one class")
    return score_features(fitted, tested, config, test.class_names, say)


def score_features(
    train: Split,
    test: Split,
    config: ExperimentConfig,
    class_names: Sequence[str] = (),
    say: Say | None = None,
) -> FrozenResult:
    """Applies the protocols to features.

    Args:
        train: Features to fit to, whose labels are not negative.
        test: Features of the same kinds to test on, whose labels are not negative.
        config: Names the protocols, the seeds, and how few labels to try.
        class_names: Class names by label.
        say: Receives the tables, line by line; None shows none.
    """
    scores: dict[str, Any] = {}
    predictions: dict[str, np.ndarray] = {}
    show = (lambda line: None) if say is None else say
    for table in _tables(config, train, test, say):
        show(f"{table.title}, top-1 on {len(test.labels)} images:")
        for name, predicted in table.predictions:
            key = f"{table.key}/{name}"
            found = ClassAccuracy.of(predicted, test.labels)
            show(f"  {name:<16}{found.top_1:.4f}")
            scores |= {f"{key}/{TOP_1}": found.top_1, f"{key}/{BALANCED}": found.balanced}
            if name not in BASELINES:
                scores |= found.results(key, class_names)
                predictions[key] = predicted
    return FrozenResult(scores, test.labels, predictions, len(train.labels))


def refuse_many_pixels(config: ExperimentConfig, train: Source, test: Source) -> None:
    """Refuses baselines whose raw pixels would not fit into memory.

    Args:
        config: Says whether there are baselines.
        train: Images to fit to.
        test: Images to test on.

    Raises:
        ConfigError: The pixels of all images take more than `MOST_PIXELS`.
    """
    frozen = any(protocol in FROZEN_PROTOCOLS for protocol in config.evaluation.protocols)
    images, size = train.num_examples + test.num_examples, config.model.image_size
    taken = images * size**2 * 3 * 4
    if config.evaluation.probe_baselines and frozen and taken > MOST_PIXELS:
        raise ConfigError(
            f"probe_baselines is set, but the raw pixels of {images:,} images of {size} px would take "
            f"{taken / 2**30:,.1f} GiB, and at most {MOST_PIXELS / 2**30:g} GiB are kept as features; pass "
            "--probe_baselines=false, or slices of the splits, as in --train_split=train[:10%]."
        )


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


def _tables(config: ExperimentConfig, train: Split, test: Split, say: Say | None) -> Iterator[Table]:
    few = config.evaluation.probe_labels_per_class
    if "linear" in config.evaluation.protocols and _can_be_separated(train.labels):
        title = "linear evaluation on frozen features"
        yield Table("linear", f"{title}, all labels", _linear(config, train, test, say))
        if few:
            rows = draw_per_class(train.labels, few, config.data.label_seed)
            drawn = Split(
                {name: rows_of[rows] for name, rows_of in train.features.items()}, train.labels[rows]
            )
            up_to = "up to " if np.unique(train.labels[rows], return_counts=True)[1].min() < few else ""
            title = f"{title}, {up_to}{few} labels per class"
            yield Table(f"linear_{few}_per_class", title, _linear(config, drawn, test, say))
    if "knn" in config.evaluation.protocols:
        found = {
            name: nearest_rows(features, test.features[name], max(NEIGHBORS))
            for name, features in track(train.features.items(), "nearest neighbors, features", say)
        }
        for k in NEIGHBORS:
            votes = ((name, vote(neighbors, train.labels, k)) for name, neighbors in found.items())
            yield Table(f"knn_{k}", f"{k} nearest neighbors", votes)


def _linear(
    config: ExperimentConfig, train: Split, test: Split, say: Say | None
) -> Iterator[tuple[str, np.ndarray]]:
    for name, features in train.features.items():
        seed = config.training.seed
        yield name, linear_predictions(features, train.labels, test.features[name], seed=seed, say=say)


def _can_be_separated(labels: np.ndarray) -> bool:
    return len(np.unique(labels)) > 1


def _extractors(
    network: SimCLR, pool: Source, config: ExperimentConfig, strategy: tf.distribute.Strategy
) -> list[tuple[FeatureExtractor, Mapping[str, str]]]:
    """Returns what extracts the rows of the tables, and by which names, the trained encoder's first."""
    endpoints = probed_endpoints(config.evaluation, network.config)
    compile = config.training.compile
    own = {name: name for name in endpoints}
    if not config.evaluation.probe_baselines:
        return [(FeatureExtractor(network, endpoints, strategy, compile), own)]
    random = random_encoder(network, pool, config, strategy)
    return [
        (FeatureExtractor(network, endpoints, strategy, compile), own),
        (
            FeatureExtractor(random, (BASELINE_ENDPOINT, RAW_PIXELS), strategy, compile),
            {BASELINE_ENDPOINT: RANDOM_ENCODER, RAW_PIXELS: RAW_PIXELS},
        ),
    ]


def _split(
    extractors: list[tuple[FeatureExtractor, Mapping[str, str]]],
    source: Source,
    config: ExperimentConfig,
    say: Say,
) -> Split:
    """Extracts the features of labeled images, and names those that cannot be read."""
    skipped = SkippedImages(source.num_examples, config.data.max_skipped_fraction)
    source = dataclasses.replace(source, skipped=skipped)
    features: Features = {}
    labels = np.empty([0], np.int64)
    for extract, names in extractors:
        found, labels = split_features(extract, source, config, say)
        features |= {names[name]: rows for name, rows in found.items()}
    if skipped.count:
        say(skipped.summary(source.name))
    return Split(*labeled_rows(features, labels))
