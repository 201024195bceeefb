"""LARS, the learning-rate schedule, weight decay, and the parameter groups that they treat differently."""

from tf_simclrv2.optimization.lars import LARS
from tf_simclrv2.optimization.optimizers import build_optimizer
from tf_simclrv2.optimization.parameter_groups import describe_groups, exclude_from_lars, parameter_groups
from tf_simclrv2.optimization.schedules import WarmupCosine, scaled_learning_rate, total_steps
from tf_simclrv2.optimization.weight_decay import weight_decay_loss

__all__ = [
    "LARS",
    "WarmupCosine",
    "build_optimizer",
    "describe_groups",
    "exclude_from_lars",
    "parameter_groups",
    "scaled_learning_rate",
    "total_steps",
    "weight_decay_loss",
]
