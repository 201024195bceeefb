"""A function of a SavedModel that a server calls: what it takes, and whether requests can share a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

Tensors = dict[str, np.ndarray]


class Signature:
    """Calls a signature of a loaded SavedModel.

    Args:
        name: Its name in the module.
        function: What `tf.saved_model.load` has under that name.

    Attributes:
        name: Its name.
        inputs: Dtype and shape of each input.
        outputs: Names of the outputs.
        is_batchable: Whether the first dimension of every input and output is the number of examples, so
            that examples of several requests can be computed together.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.inputs: dict[str, tf.TensorSpec] = dict(sorted(function.structured_input_signature[1].items()))
        self.outputs = tuple(function.structured_outputs)
        shapes = [spec.shape for spec in self.inputs.values()]
        shapes += [output.shape for output in function.structured_outputs.values()]
        self.is_batchable = bool(self.inputs) and all(shape.rank and shape[0] is None for shape in shapes)
        self._function = function

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Computes the outputs.

        Args:
            inputs: By name, of the dtypes and shapes of `inputs`.

        Raises:
            tf.errors.OpError: The module refuses them.
        """
        specs = self.inputs
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: _array_of(output) for name, output in self._function(**tensors).items()}

    def num_examples(self, inputs: Mapping[str, np.ndarray]) -> int | None:
        """Returns how many examples a request holds; None if it cannot share a call with others."""
        sizes = {value.shape[0] for value in inputs.values()} if self.is_batchable else set()
        return sizes.pop() if len(sizes) == 1 else None


def _array_of(output: tf.Tensor) -> np.ndarray:
    # TensorFlow makes bytes of a single string, not an array.
    return np.asarray(output.numpy(), dtype=object if output.dtype == tf.string else None)
