"""Counts which classes are mistaken for which."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.metrics import confusion_matrix

from tf_simclrv2.report.observations import Observations

# A table of more classes is too large to read.
MOST_CLASSES = 25
PAIRS = 8


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        by: What made the predictions.
        names: Names of the classes that occur.
        counts: int [C, C]; rows are true classes, columns predicted ones.
        accuracy: The share of correct predictions.
    """

    by: str
    names: tuple[str, ...]
    counts: np.ndarray
    accuracy: float

    @property
    def is_small(self) -> bool:
        """Whether the table is small enough to be shown."""
        return len(self.names) <= MOST_CLASSES

    def share(self, row: int, column: int) -> float:
        """Returns the share of a true class (row) that was predicted as another (column)."""
        return float(self.counts[row, column] / max(self.counts[row].sum(), 1))

    def commonest(self) -> list[tuple[str, str, int, int]]:
        """Returns the most frequent confusions: true class, predicted class, count, images of the class."""
        off = self.counts * (1 - np.eye(len(self.names), dtype=int))
        flat = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
        pairs = zip(*np.unravel_index(flat, off.shape), strict=True)
        return [
            (self.names[i], self.names[j], int(off[i, j]), int(self.counts[i].sum()))
            for i, j in pairs
            if off[i, j]
        ]


def confusion_of(seen: Observations) -> Confusion | None:
    """Builds the confusion matrix of the classifier, or else of the neighbors' votes; None without labels."""
    known = seen.labels >= 0
    classifier = bool(np.any(seen.predictions >= 0))
    predicted = seen.predictions if classifier else seen.votes
    known &= predicted >= 0
    if not known.any():
        return None
    labels, predicted = seen.labels[known], predicted[known]
    classes = np.union1d(labels, predicted)
    return Confusion(
        by="the classifier" if classifier else "a vote of the nearest other images",
        names=tuple(seen.name_of(int(label)) for label in classes),
        counts=confusion_matrix(labels, predicted, labels=classes),
        accuracy=float(np.mean(labels == predicted)),
    )
