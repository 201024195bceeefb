"""Flags of `--doctor`; not recorded with a run."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_bool(
        "doctor",
        False,
        "Check whether this machine can do what the command asks, and at what cost; train nothing.",
    )
    flags.DEFINE_integer("trial_steps", 20, "Training steps that --doctor tries; 0 tries none.")
    flags.DEFINE_string(
        "json", None, "File to which --doctor also writes its findings, as JSON; by default none."
    )
