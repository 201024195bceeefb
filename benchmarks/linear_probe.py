"""The library's linear probe beside scikit-learn's logistic regression, on the same features.

    python benchmarks/linear_probe.py [--features=digits ...] [--train=10000] [--test=2000] [--json=FILE]

`digits` are scikit-learn's pixels, `fashion_mnist` the pixels of Fashion-MNIST (of Debian's package
dataset-fashion-mnist, else of TensorFlow Datasets), and `fashion_mnist_h` what a ResNet-18 with random
weights makes of them at 32 px. Both fit a classifier with each strength of the penalty, and both choose a
strength by the same held-out rows. Prints a table of test accuracies in percent, the points between them,
and the seconds of the whole protocol; --json keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.measuring import fashion_mnist
from benchmarks.measuring.machine import machine
from tf_simclrv2 import ModelConfig, SimCLR
from tf_simclrv2.data.augmentation import evaluation_view
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.evaluation.linear_probe import FOLDS, MANY, STRENGTHS, linear_probe
from tf_simclrv2.evaluation.logistic_regression import MAX_ITERATIONS, fit_logistic_regressions

DIGITS_TEST = 360
H = "final_avg_pool"
SIZE = 32
BATCH = 256


class Rows(NamedTuple):
    """Features float32 [N, D] and labels int [N] to fit to, and as many columns to test on."""

    features: np.ndarray
    labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray


def digits(train: int, test: int) -> Rows:
    """The pixels of scikit-learn's digits: the first rows, and the last ones to test on."""
    found = load_digits()
    features, labels = found.data.astype(np.float32), found.target
    test = min(test, DIGITS_TEST)
    train = min(train, len(labels) - test)
    return Rows(features[:train], labels[:train], features[-test:], labels[-test:])


def fashion_pixels(train: int, test: int) -> Rows:
    """The pixels of the first images of both splits."""
    found = []
    for split, count in (("train", train), ("test", test)):
        images, labels = fashion_mnist.read(split, fashion_mnist.default_source())
        found += [images[:count].reshape(-1, 28 * 28).astype(np.float32) / 255, labels[:count]]
    return Rows(*found)


def fashion_h(train: int, test: int) -> Rows:
    """The same images through a network with random weights."""
    pixels = fashion_pixels(train, test)
    keras.utils.set_random_seed(0)
    network = SimCLR(ModelConfig(resnet_depth=18, image_size=SIZE))
    network.build([None, SIZE, SIZE, 3])
    extract = FeatureExtractor(network, [H])

    def h(rows: np.ndarray) -> np.ndarray:
        images = tf.data.Dataset.from_tensor_slices(np.repeat(rows.reshape(-1, 28, 28, 1), 3, axis=3))
        batches = images.map(lambda image: _row(evaluation_view(image, SIZE))).batch(BATCH)
        return extract(batches, most=len(rows))[0][H]

    return Rows(h(pixels.features), pixels.labels, h(pixels.test_features), pixels.test_labels)


def _row(image: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"image": image, "label": tf.constant(0, tf.int64), "mask": tf.constant(True)}


FEATURES: dict[str, Callable[[int, int], Rows]] = {
    "digits": digits,
    "fashion_mnist": fashion_pixels,
    "fashion_mnist_h": fashion_h,
}


def scikit_learn(strength: float) -> Pipeline:
    """What the library's probe is held to."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS))


def by_strength(rows: Rows) -> dict[str, list[float]]:
    """Test accuracies of classifiers that were fitted with each strength to all rows."""
    predicted = fit_logistic_regressions(rows.features, rows.labels, STRENGTHS).predict(rows.test_features)
    theirs = [scikit_learn(strength).fit(rows.features, rows.labels) for strength in STRENGTHS]
    return {
        "ours": np.mean(predicted == rows.test_labels, axis=1).tolist(),
        "scikit-learn": [float(model.score(rows.test_features, rows.test_labels)) for model in theirs],
    }


def protocol(rows: Rows) -> dict[str, dict[str, float]]:
    """Accuracy, chosen strength and seconds of the probe and of scikit-learn's search by the same rows."""
    start = time.perf_counter()
    ours = linear_probe(*rows)
    halfway = time.perf_counter()
    held = (
        StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        if len(rows.labels) < MANY
        else StratifiedShuffleSplit(1, test_size=1 / FOLDS, random_state=0)
    )
    search = GridSearchCV(scikit_learn(1.0), {"logisticregression__C": STRENGTHS}, cv=held)
    search.fit(rows.features, rows.labels)
    end = time.perf_counter()
    theirs = float(search.score(rows.test_features, rows.test_labels))
    strength = search.best_params_["logisticregression__C"]
    return {
        "ours": {"accuracy": ours.accuracy, "strength": ours.strength, "s": halfway - start},
        "scikit-learn": {"accuracy": theirs, "strength": strength, "s": end - halfway},
    }


def measure(rows: Rows) -> dict[str, Any]:
    """All that is printed of some features."""
    return {"rows": rows.features.shape, "strengths": by_strength(rows), "protocol": protocol(rows)}


def table(name: str, found: dict[str, Any]) -> str:
    """The lines of some features."""
    (count, width), by_strength, protocol = found["rows"], found["strengths"], found["protocol"]
    pairs = zip(STRENGTHS, by_strength["ours"], by_strength["scikit-learn"], strict=True)
    lines = [line(name, f"{count} x {width}", f"{strength:g}", *pair) for strength, *pair in pairs]
    ours, theirs = protocol["ours"], protocol["scikit-learn"]
    chosen = f"chosen: {ours['strength']:g}; {theirs['strength']:g}"
    seconds = f"{ours['s']:.1f}; {theirs['s']:.1f}"
    return "\n".join([*lines, line(name, "", chosen, ours["accuracy"], theirs["accuracy"], seconds)])


def line(name: str, rows: str, strength: str, ours: float, theirs: float, seconds: str = "") -> str:
    """A row of the table, with the points between both accuracies."""
    points = f"{100 * (ours - theirs):+.2f}"
    return f"| {name} | {rows} | {strength} | {100 * ours:.2f} | {100 * theirs:.2f} | {points} | {seconds} |"


def main() -> None:
    """Measures the features that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", choices=FEATURES, action="append", help="default: all")
    parser.add_argument("--train", type=int, default=10000, help="rows to fit to, where there are so many")
    parser.add_argument("--test", type=int, default=2000, help="rows to test on, where there are so many")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # Both stop after as many iterations.
    print(f"{machine()}\n")
    print("| features | rows | strength | ours, % | scikit-learn, % | points | s, ours; scikit-learn |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = {}
    for name in arguments.features or FEATURES:
        results[name] = measure(FEATURES[name](arguments.train, arguments.test))
        print(table(name, results[name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "features": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
