"""Tells whether two embeddings come from the same network."""

from __future__ import annotations

import hashlib

import numpy as np

from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.variable_paths import named_variables


def network_identity(network: SimCLR, endpoint: str) -> str:
    """Returns a name for the weights that lead to an endpoint, the same for a run and its exports.

    Args:
        network: A built network.
        endpoint: `final_avg_pool`, a layer of the projection head, or `logits_sup`.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> network_identity(network, "final_avg_pool")
        '0c1f6a8d27b93e54'
    """
    # An export may end at the endpoint, so what follows it does not count.
    kept = network.config.truncated(endpoint, classify=endpoint == "logits_sup")
    head = network.projection_head
    parts = [
        network.resnet,
        *head.denses[: kept.num_used_head_layers],
        *head.norms[: kept.num_used_head_layers],
    ]
    if kept.num_classes:
        parts.append(network.supervised_head)
    counted = {id(variable) for part in parts for variable in part.variables}
    digest = hashlib.sha256()
    for path, variable in sorted(named_variables(network).items()):
        if id(variable) in counted:
            digest.update(path.encode())
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:16]
