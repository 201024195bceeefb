"""Ends the inner loop of training, which runs outside of Python, after the step that it is at."""

from __future__ import annotations

import tensorflow as tf


class StopFlag:
    """A flag that the graph of a loop reads before each step. Make it outside the strategy's scope.

    Example:
        >>> flag = StopFlag()
        >>> threading.Timer(60, flag.set).start()
        >>> while not flag.is_set():  # in a tf.function
        ...     step()
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._value = tf.Variable(False, trainable=False, name="stop")

    def set(self) -> None:
        """Sets the flag; may be called in any thread."""
        self._value.assign(True)

    def is_set(self) -> tf.Tensor:
        """Returns whether it is set, bool []."""
        return self._value.read_value()
