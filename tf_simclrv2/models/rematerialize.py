"""Layers that are computed again in the backward pass rather than remembered: memory against time."""

from __future__ import annotations

import contextlib
import itertools

import keras
import tensorflow as tf

from tf_simclrv2.models.batch_norm import moving_statistics_kept


def rematerialized(layer: keras.layers.Layer, x: tf.Tensor) -> tf.Tensor:
    """A layer in training mode of which only the input is kept for the backward pass.

    The values and gradients are those of the plain call. Moving statistics move once, in the first pass.

    Args:
        layer: From one tensor to one, with a `training` argument and no randomness.
        x: Its input.

    Returns:
        `layer(x, training=True)`.

    Example:
        >>> x = rematerialized(ResidualBlock(64), x)

    Reference: Chen et al. 2016, arXiv 1604.06174.
    """
    passes = itertools.count()

    @tf.recompute_grad
    def forward(x: tf.Tensor) -> tf.Tensor:
        again = next(passes) > 0
        with moving_statistics_kept() if again else contextlib.nullcontext():
            return layer(x, training=True)

    return forward(x)
