"""Flags of the training stage."""

from __future__ import annotations

from absl import flags

from tf_simclrv2.config import COMPILE_MODES, PRECISIONS, TRAIN_MODES


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_enum("train_mode", "pretrain", list(TRAIN_MODES), "Stage of the method.")
    flags.DEFINE_integer("train_batch_size", 512, "Global batch of training.")
    flags.DEFINE_integer(
        "microbatch_size", 0, "Compute a batch in parts of this many images, to save memory; 0 does not."
    )
    flags.DEFINE_bool("rematerialize", False, "Recompute residual blocks backwards, to save memory.")
    flags.DEFINE_integer("train_epochs", 100, "Epochs of training.")
    flags.DEFINE_integer("train_steps", 0, "Steps of training; overrides the epochs if above 0.")
    flags.DEFINE_bool(
        "lineareval_while_pretraining", True, "Train a linear classifier on frozen h meanwhile."
    )
    flags.DEFINE_enum("precision", "float32", list(PRECISIONS), "Keras dtype policy.")
    flags.DEFINE_integer("seed", 0, "Root of all randomness.")
    flags.DEFINE_bool("deterministic", False, "Use deterministic kernels only.")
    flags.DEFINE_enum(
        "compile",
        "auto",
        list(COMPILE_MODES),
        "What XLA compiles: the whole step, clusters of it, or none; auto chooses by device.",
    )
    flags.DEFINE_float("temperature", 0.1, "Temperature of the contrastive loss.")
    flags.DEFINE_bool("hidden_norm", True, "Compare normalised projections.")
    flags.DEFINE_integer("memory_size", 0, "Momentum keys of past batches to contrast with; 0 is off.")
    flags.DEFINE_float("memory_decay", 0.999, "Decay of the momentum encoder.")
    flags.DEFINE_string("teacher", None, "Teacher of distillation: a model_dir, a ckpt-N or a SavedModel.")
    flags.DEFINE_float(
        "distill_temperature", 1.0, "Temperature of distillation; the paper: 0.1 self, else 1."
    )
    flags.DEFINE_float("distill_alpha", 1.0, "Weight of distillation against labels; 1 needs no labels.")
    flags.DEFINE_integer(
        "labelled_batch_size", 0, "Labelled images of a step of distillation; 0 takes --train_batch_size."
    )
