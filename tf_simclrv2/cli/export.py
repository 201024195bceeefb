"""Exports a trained network: `simclrv2 export`, or `python -m export` in a checkout."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.flags.export import define
from tf_simclrv2.cli.flags.settings import values_in
from tf_simclrv2.cli.help_page import help_page
from tf_simclrv2.cli.program import start
from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.setting import settings_of


def main() -> None:
    """Reads the command line and exports."""
    start(define, _export, _help)


def _help() -> str:
    purpose = "Writes a trained network for other programs, after checking it in a fresh process."
    return help_page(sys.argv[0], purpose, {"flags": list(settings_of(ExportConfig))})


def _export() -> None:
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.export.exporter import export

    say_at_once(export(ExportConfig(**values_in(ExportConfig))))
