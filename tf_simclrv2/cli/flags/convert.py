"""Flags of the program that converts weights."""

from __future__ import annotations

from absl import flags

from tf_simclrv2.cli.flags.settings import define_settings
from tf_simclrv2.export.convert_config import ConvertConfig


def define() -> None:
    """Defines the flags."""
    define_settings(ConvertConfig, "conversion settings")
    flags.mark_flags_as_required(["input", "output"])
