"""Flags of the export program."""

from __future__ import annotations

from tf_simclrv2.cli.flags.settings import define_settings
from tf_simclrv2.export.export_config import ExportConfig


def define() -> None:
    """Defines the flags."""
    define_settings(ExportConfig, "export settings")
