"""Flags of `simclrv2 rehearse`, next to those of the run that is rehearsed."""

from __future__ import annotations

import os

from absl import flags


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "tpu", None, "TPU slice to compile for, by size (v3-8, v5e-8) or by its chips (v5e:4x8, v4:2x2x2)."
    )
    flags.DEFINE_integer("classes", 1000, "Number of classes of the labels.", lower_bound=2)
    flags.DEFINE_enum(
        "effort",
        "full",
        ["full", "quick"],
        "How hard the compiler works: full is what a TPU's run gets; quick takes a tenth of the time and "
        "finds a slower program of about the same memory.",
    )
    flags.DEFINE_string(
        "rehearsal_cache",
        os.path.join("~", ".cache", "tf_simclrv2", "rehearsals"),
        "Directory that caches the compiled programs.",
    )
