"""Counts which classes are mistaken for which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tf_simclrv2.report.classifiers import Classifier
from tf_simclrv2.report.observations import Observations

# A table of more classes is too large to read.
MOST_CLASSES = 20
PAIRS = 15
_OWN = "eval"


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        by: What made the predictions.
        names: Names of the classes that occur.
        counts: int [C, C]; rows are true classes, columns predicted ones.
        examples: The number of images in the split, of which these are some; 0 if it is not known.
    """

    by: str
    names: tuple[str, ...]
    counts: np.ndarray
    examples: int = 0

    @property
    def is_small(self) -> bool:
        """Whether the table is small enough to be shown."""
        return len(self.names) <= MOST_CLASSES

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return float(np.trace(self.counts) / self.counts.sum())

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


def confusion_of(seen: Observations, classifiers: Sequence[Classifier] = ()) -> Confusion | None:
    """Builds the confusion matrix of the best classifier whose predictions are known.

    Args:
        seen: The predictions: of the network's own classifier for the images of the report, of the others for
            the whole split.
        classifiers: The run's classifiers, the best one first.

    Returns:
        The matrix. Without classifiers it is that of the network's own, or else that of the votes of the
        nearest other images. None if there are no labels.
    """
    for classifier in classifiers:
        by = classifier.note if classifier.key == _OWN else f"the {classifier.label}"
        if classifier.key in seen.confusions:
            return _confusion(seen, by, np.array(seen.confusions[classifier.key]))
        if classifier.key == _OWN and np.any(seen.predictions >= 0):
            break
    if np.any(seen.predictions >= 0):
        return _of_images(seen, "the network's classifier", seen.predictions)
    return _of_images(seen, "a vote of the nearest other images", seen.votes)


def _of_images(seen: Observations, by: str, predicted: np.ndarray) -> Confusion | None:
    known = (seen.labels >= 0) & (predicted >= 0)
    if not known.any():
        return None
    triples = np.stack([seen.labels[known], predicted[known], np.ones(known.sum(), int)], axis=1)
    return _confusion(seen, by, triples)


def _confusion(seen: Observations, by: str, triples: np.ndarray) -> Confusion:
    """Builds a matrix from rows of true class, predicted class and number of images."""
    classes = np.unique(triples[:, :2])
    counts = np.zeros((len(classes), len(classes)), int)
    rows, columns = (np.searchsorted(classes, triples[:, side]) for side in (0, 1))
    np.add.at(counts, (rows, columns), triples[:, 2])
    return Confusion(by, tuple(seen.name_of(int(label)) for label in classes), counts, seen.examples)
