"""The private names of Keras and TensorFlow that this package needs, behind public ones of its own.

Nothing public does what they do. `tests/models/test_private_api.py` fails when a new release has changed one
of them, and says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Lists a layer and all layers that it is made of, each once, at any depth.

    `keras.Model.layers` lists only the layers that a model holds directly; other layers have no such list.

    Args:
        layer: Any layer or model.

    Example:
        >>> norms = [layer for layer in layers_within(network) if isinstance(layer, BatchNormRelu)]
    """
    return layer._flatten_layers()


def run_for_all_replicas(update: Callable[[tf.distribute.Strategy], Any]) -> None:
    """Calls a function once for all replicas, from the step that each of them runs.

    `tf.distribute.ReplicaContext.merge_call` alone is not enough: some strategies need no merging, or do not
    allow it, and only TensorFlow knows which.

    Args:
        update: Receives the strategy in scope, in whose cross-replica context it may update variables.
    """
    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy())
