"""Variables by path, which is the name under which a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


def named_variables(root: keras.layers.Layer | keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """Returns the variables of a network or optimizer by path, without the root's own name.

    Args:
        root: A built network or optimizer.

    Example:
        >>> list(named_variables(network))[0]
        'resnet/stem/conv_1/kernel'
    """
    return {variable.path.split("/", 1)[1]: variable for variable in root.variables}


def variable_tree(variables: Mapping[str, keras.Variable]) -> dict[str, Any]:
    """Nests {"a/b": v} as {"a": {"b": v}}, the form whose keys in a checkpoint are the paths."""
    tree: dict[str, Any] = {}
    for path, variable in variables.items():
        *scopes, name = path.split("/")
        node = tree
        for scope in scopes:
            node = node.setdefault(scope, {})
        node[name] = variable.value
    return tree
