"""Losses: NT-Xent and cross entropy."""

from tf_simclrv2.objectives.contrastive import contrastive_accuracy, contrastive_entropy, nt_xent
from tf_simclrv2.objectives.distillation import distillation_loss
from tf_simclrv2.objectives.supervised import supervised_loss, top_k_correct

__all__ = [
    "contrastive_accuracy",
    "contrastive_entropy",
    "distillation_loss",
    "nt_xent",
    "supervised_loss",
    "top_k_correct",
]
