"""Accuracy of each class, and balanced accuracy, in which every class counts the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

# In names of results, what follows the classifier.
TOP_1, BALANCED, PER_CLASS = "top_1_accuracy", "balanced_accuracy", "accuracy_per_class"


@dataclasses.dataclass(frozen=True)
class ClassAccuracy:
    """Right answers by class.

    Attributes:
        right: int [C], images of each class that were classified correctly.
        images: int [C], images of each class. At least one class has some.
    """

    right: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, predictions: np.ndarray, labels: np.ndarray) -> ClassAccuracy:
        """Counts predictions.

        Args:
            predictions: int [N], the predicted classes.
            labels: int [N]; rows with a negative label count nowhere, and one row has another.

        Example:
            >>> ClassAccuracy.of(np.array([0, 0, 2]), np.array([0, 2, 2])).balanced
            0.75
        """
        known = labels >= 0
        predictions, labels = predictions[known], labels[known]
        images = np.bincount(labels)
        return cls(np.bincount(labels[predictions == labels], minlength=len(images)), images)

    @property
    def top_1(self) -> float:
        """The share of all images that were classified correctly."""
        return float(self.right.sum() / self.images.sum())

    @property
    def balanced(self) -> float:
        """The mean of the accuracies of the classes that occur."""
        occur = self.images > 0
        return float(np.mean(self.right[occur] / self.images[occur]))

    def by_class(self, names: Sequence[str] = ()) -> dict[str, float]:
        """Returns the accuracy of each class that occurs, by its name, or its label without a name."""
        return {_name(i, names): float(self.right[i] / self.images[i]) for i in np.flatnonzero(self.images)}

    def images_by_class(self, names: Sequence[str] = ()) -> dict[str, int]:
        """Returns the number of images of each class that occurs, by its name, or its label without one."""
        return {_name(i, names): int(self.images[i]) for i in np.flatnonzero(self.images)}

    def results(self, prefix: str, names: Sequence[str] = ()) -> dict[str, Any]:
        """Returns what `result.json` says of a classifier beyond its top-1 accuracy.

        Args:
            prefix: The classifier, for example `linear/final_avg_pool`.
            names: Class names by label.
        """
        return {f"{prefix}/{BALANCED}": self.balanced, f"{prefix}/{PER_CLASS}": self.by_class(names)}


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else str(label)
