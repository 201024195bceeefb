"""Flags of `--doctor`; not recorded with a run."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_bool("doctor", False, "Examine what this command asks of the machine, and train nothing.")
    flags.DEFINE_integer("trial_steps", 20, "Steps that --doctor tries; 0 tries none.")
    flags.DEFINE_string("json", None, "File for what --doctor finds.")
