"""Which layers of a network are frozen: told to parts that are made later, and kept in its config."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import keras

from tf_simclrv2.private_api import parts_of


def freeze_new_parts(layer: keras.layers.Layer) -> None:
    """Freezes the parts of a layer that was created frozen; call it when the layer has made them.

    Keras tells only the parts that exist when `trainable` changes.

    Args:
        layer: A layer at the end of its `__init__`.
    """
    if not layer.trainable:
        for part in parts_of(layer):
            part.trainable = False


def frozen_paths(root: keras.layers.Layer) -> list[str]:
    """Lists the frozen layers within a layer, by the names that lead to each.

    Args:
        root: Any layer whose parts have different names; it is not in the list itself.

    Example:
        >>> network.resnet.stem.convs[0].trainable = False
        >>> frozen_paths(network)
        ['resnet/stem/conv_1']
    """
    return [path for path, layer in _layers_by_path(root) if not layer.trainable]


def freeze_only(root: keras.layers.Layer, paths: Collection[str]) -> None:
    """Freezes the layers of these paths within a layer, and no others.

    Args:
        root: The layer.
        paths: From `frozen_paths`. Those that the layer does not have, or not yet, are left out.
    """
    for path, layer in _layers_by_path(root):  # Layers come before their parts, which follow them.
        frozen = path in paths
        if layer.trainable == frozen:
            layer.trainable = not frozen


def _layers_by_path(layer: keras.layers.Layer, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    for part in parts_of(layer):
        path = f"{prefix}{part.name}"
        yield path, part
        yield from _layers_by_path(part, f"{path}/")
