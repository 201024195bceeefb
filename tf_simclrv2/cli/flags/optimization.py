"""Flags of the optimizer and its schedule."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_enum("optimizer", "lars", ["momentum", "adam", "lars"], "Optimizer.")
    flags.DEFINE_float("learning_rate", 0.3, "Base learning rate; per 256 examples under linear scaling.")
    flags.DEFINE_enum(
        "learning_rate_scaling", "linear", ["linear", "sqrt"], "How the rate grows with the batch."
    )
    flags.DEFINE_float("warmup_epochs", 10, "Epochs of linear warm-up.")
    flags.DEFINE_float("weight_decay", 1e-6, "Weight decay.")
    flags.DEFINE_float("momentum", 0.9, "Momentum of LARS and SGD.")
