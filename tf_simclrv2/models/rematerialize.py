"""Recomputing layers in the backward pass instead of storing their activations: less RAM, more time."""

from __future__ import annotations

import itertools

import keras
import tensorflow as tf


def rematerialize(layer: keras.layers.Layer, x: tf.Tensor, update_statistics: bool = True) -> tf.Tensor:
    """Calls a layer in training mode and keeps only its input for the backward pass.

    Values and gradients are those of the plain call. Moving statistics move once, in the first pass.

    Args:
        layer: Maps one tensor to one, takes `training` and `update_statistics`, and is deterministic.
        x: Its input.
        update_statistics: See `BatchNormRelu`.

    Returns:
        `layer(x, training=True)`.

    Example:
        >>> x = rematerialize(ResidualBlock(64), x)

    Reference: Chen et al. 2016, arXiv 1604.06174.
    """
    # TensorFlow calls `forward` once for this call's values, then once for its gradient.
    passes = itertools.count()

    @tf.recompute_grad
    def forward(x: tf.Tensor) -> tf.Tensor:
        first = next(passes) == 0
        return layer(x, training=True, update_statistics=update_statistics and first)

    return forward(x)
