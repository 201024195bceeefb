"""Counts the right answers for each class, over all replicas: the start of every accuracy by class."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class ClassCounts(keras.metrics.Metric):
    """Counts the images of each class, and those that were classified correctly.

    Args:
        classes: The number of classes.
        **kwargs: Further arguments of `keras.metrics.Metric`.

    Attributes:
        right: Variable [classes], images of each class that were classified correctly.
        images: Variable [classes], images of each class.

    Example:
        >>> counts = ClassCounts(3)
        >>> counts.update_state(tf.constant([1.0, 0.0]), labels=tf.constant([2, -1]))
        >>> float(counts.result())
        1.0
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.right = self.add_variable([classes], "zeros", name="right")
        self.images = self.add_variable([classes], "zeros", name="images")

    def update_state(
        self, correct: tf.Tensor, labels: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Counts a batch.

        Args:
            correct: [N], 1 for a row that was classified correctly, else 0.
            labels: int [N]; rows with a negative label are not counted.
            sample_weight: [N], 0 for rows that are not counted, else 1; None counts all.
        """
        weight = tf.ones_like(correct) if sample_weight is None else sample_weight
        for counter, rows in ((self.right, correct * weight), (self.images, weight)):
            counter.assign_add(tf.cast(self._by_class(rows, labels), counter.dtype))

    def result(self) -> tf.Tensor:
        """Returns the balanced accuracy, the mean over the classes that occur; 0 before the first image."""
        right, images = (tf.convert_to_tensor(counter.value) for counter in (self.right, self.images))
        occur = tf.cast(images > 0, images.dtype)
        accuracies = tf.math.divide_no_nan(right, images)
        return tf.math.divide_no_nan(tf.reduce_sum(accuracies), tf.reduce_sum(occur))

    def _by_class(self, rows: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(rows, labels, self.classes)  # It drops negative labels.
