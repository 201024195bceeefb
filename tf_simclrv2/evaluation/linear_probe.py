"""Linear evaluation: a linear classifier on frozen features, its penalty chosen on held-out rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# Inverse strengths of the L2 penalty to try.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
HELD_OUT = 0.2
# Used if no class has a second row to hold out.
DEFAULT_STRENGTH = 1.0
MAX_ITERATIONS = 500


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Holds the result of a linear probe.

    Attributes:
        accuracy: Top-1 accuracy on the test features, in [0, 1].
        strength: The chosen inverse strength of the L2 penalty.
    """

    accuracy: float
    strength: float


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    seed: int = 0,
) -> ProbeResult:
    """Fits logistic regression to standardized features and tests it.

    The strength of the penalty is chosen by a sweep: classifiers are fitted to four fifths of the training
    rows and compared on the other fifth, stratified by class. The only row of a class is never held out. The
    final fit uses all rows.

    Args:
        train_features: [N, D].
        train_labels: int [N], of at least two classes.
        test_features: [M, D].
        test_labels: int [M].
        seed: Seed of the choice of held-out rows.

    Returns:
        The accuracy on the test rows and the chosen strength.

    Reference: SimCLR section 4, "linear evaluation protocol".
    """
    strength = _best_strength(train_features, train_labels, seed)
    model = _classifier(strength).fit(train_features, train_labels)
    return ProbeResult(float(model.score(test_features, test_labels)), strength)


def _classifier(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS))


def _best_strength(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    classes, counts = np.unique(labels, return_counts=True)
    alone = np.isin(labels, classes[counts == 1])
    if alone.all():
        return DEFAULT_STRENGTH
    size = max(math.ceil(HELD_OUT * np.sum(~alone)), int(np.sum(counts > 1)))
    fit, held = train_test_split(
        np.flatnonzero(~alone), test_size=size, stratify=labels[~alone], random_state=seed
    )
    fit = np.concatenate([fit, np.flatnonzero(alone)])
    fit_x, fit_y, held_x, held_y = features[fit], labels[fit], features[held], labels[held]
    scores = [_classifier(strength).fit(fit_x, fit_y).score(held_x, held_y) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmax(scores))]
