"""The weight-decay term of the loss, which depends on the optimizer."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.optimization.parameter_groups import Groups


def weight_decay_loss(groups: Groups, weight_decay: float, by_lars: bool) -> tf.Tensor:
    """Computes λ · ½‖w‖² over the variables that the optimizer does not decay itself.

    LARS decays the kernels in its own step, but not the classifier, so only the classifier's kernel remains
    for this term. For other optimizers the term covers everything except batch norm, biases included.

    Args:
        groups: From `parameter_groups`.
        weight_decay: λ.
        by_lars: Whether the optimizer is LARS.

    Returns:
        Scalar, float32 or wider.
    """
    if by_lars:
        decayed = [v for v in groups["supervised_head"] if v.shape.rank > 1]
    else:
        decayed = [v for kind, group in groups.items() if kind != "batch_norm" for v in group]
    if not decayed:
        return tf.zeros([])
    return weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in decayed])
