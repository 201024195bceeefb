"""Linear evaluation: a linear classifier on frozen features, its penalty chosen on held-out rows."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from tf_simclrv2.evaluation.logistic_regression import fit_logistic_regressions
from tf_simclrv2.progress import Say

# Inverse strengths of the L2 penalty to try.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5
# With fewer rows all folds are held out, one after another: one of 120 rows decided four points of accuracy.
MANY = 1_000
# Used if no class has a second row to hold out.
DEFAULT_STRENGTH = 1.0


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
    say: Say | None = None,
) -> ProbeResult:
    """Fits logistic regression to standardized features and tests it.

    The strength of the penalty is chosen by a sweep: classifiers of all strengths are fitted together to four
    fifths of the training rows and compared on the other fifth, stratified by class. Of fewer than 1,000
    rows, a fifth says little, so each fifth is held out in turn. The only row of a class is never held out.
    The final fit uses all rows and starts from the best of these classifiers.

    Args:
        train_features: [N, D].
        train_labels: int [N], of at least two classes.
        test_features: [M, D].
        test_labels: int [M].
        seed: Seed of the choice of held-out rows.
        say: Receives progress lines; None shows nothing.

    Returns:
        The accuracy on the test rows and the chosen strength.

    Reference: SimCLR section 4, "linear evaluation protocol".
    """
    predicted, strength = _fit_and_predict(train_features, train_labels, test_features, seed, say)
    return ProbeResult(float(np.mean(predicted == test_labels)), strength)


def linear_predictions(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    seed: int = 0,
    say: Say | None = None,
) -> np.ndarray:
    """Predicts the classes of test rows by the classifier of `linear_probe`; arguments as there.

    Returns:
        Classes, int [M].
    """
    return _fit_and_predict(train_features, train_labels, test_features, seed, say)[0]


def _fit_and_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    seed: int,
    say: Say | None,
) -> tuple[np.ndarray, float]:
    """Returns the predicted classes and the strength of the penalty."""
    classes, labels = np.unique(train_labels, return_inverse=True)
    strength, start, right = DEFAULT_STRENGTH, None, np.zeros(len(STRENGTHS))
    for fit, held in _splits(labels, seed):
        sweep = fit_logistic_regressions(train_features, labels, STRENGTHS, fit, say=say)
        right += np.sum(sweep.predict(train_features, held) == labels[held], axis=1)
        best = int(np.argmax(right))
        strength, start = STRENGTHS[best], sweep.weights[best : best + 1]
    model = fit_logistic_regressions(train_features, labels, [strength], start=start, say=say)
    return classes[model.predict(test_features)[0]], strength


def _splits(labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Chooses the rows of each sweep, sorted: those to fit to and those held out; [] if none can be."""
    counts = np.bincount(labels)
    alone = counts[labels] == 1
    if alone.all():
        return []
    rows, always = np.flatnonzero(~alone), np.flatnonzero(alone)
    if len(labels) < MANY:
        folds = StratifiedKFold(min(FOLDS, int(counts.max())), shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # A class may have fewer rows than there are folds.
            warnings.simplefilter("ignore", UserWarning)
            chosen = [(rows[fit], rows[held]) for fit, held in folds.split(rows, labels[rows])]
    else:
        size = max(math.ceil(len(rows) / FOLDS), int(np.sum(counts > 1)))
        chosen = [train_test_split(rows, test_size=size, stratify=labels[rows], random_state=seed)]
    return [(np.sort(np.concatenate([fit, always])), np.sort(held)) for fit, held in chosen]
