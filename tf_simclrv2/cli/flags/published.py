"""Flags of the published programs that are not a setting of a run, but change one."""

from __future__ import annotations

import dataclasses

from absl import flags

from tf_simclrv2.config import RunConfig

FLAGS = flags.FLAGS

NAMES = ("use_tpu", "train_summary_steps")
# Flags that only the published TF1 program had, and what becomes of them.
LEGACY_NOTES = {
    "train_summary_steps": "mapped to --steps_per_loop, the steps between summaries; 0 leaves the default",
}


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_bool("use_tpu", True, "Allow --tpu_name and --master; without one of them, no TPU is used.")
    flags.DEFINE_integer(
        "train_summary_steps", None, "Accepted for older commands, as --steps_per_loop; prints a note."
    )


def applied(config: RunConfig) -> RunConfig:
    """Returns the config with what these flags change in it."""
    if not FLAGS.use_tpu:
        config = dataclasses.replace(config, tpu_name=None, master=None)
    if not config.steps_per_loop and FLAGS.train_summary_steps:
        config = dataclasses.replace(config, steps_per_loop=FLAGS.train_summary_steps)
    return config
