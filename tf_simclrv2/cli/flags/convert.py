"""Flags of the program that converts weights."""

from __future__ import annotations

from absl import flags

FORMATS = ("checkpoint", "published")


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "input", None, "Weights to convert: a published SavedModel or checkpoint, a model_dir or a ckpt-N."
    )
    flags.DEFINE_string("output", None, "Directory to create.")
    flags.DEFINE_enum(
        "format",
        "checkpoint",
        FORMATS,
        "Form to write: this package's (checkpoint) or the published TF2 program's.",
    )
    flags.DEFINE_integer(
        "ft_proj_selector",
        None,
        "Projection-head layer that feeds the classifier of published weights, counted from 0 = h; by "
        "default the first one that fits.",
    )
    flags.DEFINE_bool("overwrite", False, "Replace the output if it exists.")
    flags.mark_flags_as_required(["input", "output"])
