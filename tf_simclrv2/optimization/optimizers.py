"""The optimizer that a config names."""

from __future__ import annotations

import keras

from tf_simclrv2.config import OptimizerConfig
from tf_simclrv2.optimization.lars import LARS


def build_optimizer(
    config: OptimizerConfig, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Creates the optimizer of a run: LARS, Nesterov SGD (`momentum`) or Adam.

    Args:
        config: Names the optimizer, its momentum and its weight decay.
        learning_rate: A float or a schedule.

    Returns:
        An optimizer that is not built yet. Only LARS decays weights itself; for the others the decay is part
        of the loss (`weight_decay_loss`).
    """
    if config.optimizer == "lars":
        return LARS(learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    if config.optimizer == "momentum":
        return keras.optimizers.SGD(learning_rate, momentum=config.momentum, nesterov=True)
    return keras.optimizers.Adam(learning_rate)


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the optimizer within a `LossScaleOptimizer`; any other is returned unchanged."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def steps_scale_with_gradients(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether a factor on a variable's gradient is, in the long run, a factor on its steps.

    So it is with SGD, and with LARS for what has no trust ratio, unless gradients are clipped. Optimizers
    that divide by gradients of the past undo a factor, or are misled by one that changes.

    Args:
        optimizer: Any optimizer, which may be in a loss scale.
    """
    inner = inner_optimizer(optimizer)
    limits = (inner.clipnorm, inner.global_clipnorm, inner.clipvalue)
    return isinstance(inner, LARS | keras.optimizers.SGD) and all(limit is None for limit in limits)
