"""Flags of the training stage."""

from __future__ import annotations

from absl import flags

from tf_simclrv2.config import PRECISIONS


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_enum("train_mode", "pretrain", ["pretrain", "finetune"], "Stage of the method.")
    flags.DEFINE_integer("train_batch_size", 512, "Global batch of training.")
    flags.DEFINE_integer("train_epochs", 100, "Epochs of training.")
    flags.DEFINE_integer("train_steps", 0, "Steps of training; overrides the epochs if above 0.")
    flags.DEFINE_bool(
        "lineareval_while_pretraining", True, "Train a linear classifier on frozen h meanwhile."
    )
    flags.DEFINE_enum("precision", "float32", list(PRECISIONS), "Keras dtype policy.")
    flags.DEFINE_integer("seed", 0, "Root of all randomness.")
    flags.DEFINE_bool("deterministic", False, "Use deterministic kernels only.")
    flags.DEFINE_float("temperature", 0.1, "Temperature of the contrastive loss.")
    flags.DEFINE_bool("hidden_norm", True, "Compare normalised projections.")
