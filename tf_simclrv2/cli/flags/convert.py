"""Flags of the program that converts weights."""

from __future__ import annotations

from absl import flags

FORMATS = ("checkpoint", "published")


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_string(
        "input", None, "Weights: a published SavedModel or checkpoint, a model_dir, a ckpt-N."
    )
    flags.DEFINE_string("output", None, "Directory to make.")
    flags.DEFINE_enum(
        "format", "checkpoint", FORMATS, "What to write: this package's form, or the published TF2 program's."
    )
    flags.DEFINE_integer(
        "ft_proj_selector",
        None,
        "Head layer that feeds the classifier of published weights, counted from 0 = h; where it is not "
        "given, the first one that fits.",
    )
    flags.DEFINE_bool("overwrite", False, "Replace the output if it exists.")
    flags.mark_flags_as_required(["input", "output"])
