"""One linear probe and one vote of nearest neighbors for the features of every contender."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

# Fixed before anything was measured, and the same for everyone.
INVERSE_REGULARIZATION, ITERATIONS, NEIGHBORS = 0.01, 300, 20


def judge(
    features: dict[str, np.ndarray], train_labels: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
    """Accuracies on the test images.

    Args:
        features: float32 [N, F] of the images that probes are fitted to, `train`, and of those in `test`.
        train_labels: int [N] of the former.
        test_labels: int [N] of the latter.

    Returns:
        `linear`: of a logistic regression on standardized features; `neighbors`: of the vote of the nearest
        by cosine.
    """
    linear = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=ITERATIONS)
    )
    with threadpool_limits(1):  # Others are being timed on the other cores.
        linear.fit(features["train"], train_labels)
    unit = {split: normalize(values) for split, values in features.items()}
    vote = KNeighborsClassifier(NEIGHBORS).fit(unit["train"], train_labels)
    return {
        "linear": float(linear.score(features["test"], test_labels)),
        "neighbors": float(vote.score(unit["test"], test_labels)),
    }
