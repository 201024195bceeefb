"""Flags of `simclrv2 rehearse`, next to those of the run that is rehearsed."""

from __future__ import annotations

from tf_simclrv2.cli.flags.settings import define_settings
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig


def define() -> None:
    """Defines the flags."""
    define_settings(RehearsalConfig, "rehearsal settings")
