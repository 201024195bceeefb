"""Exports a trained network: `simclrv2 export`, or `python -m export` in a checkout."""

from __future__ import annotations

import dataclasses
import sys

from absl.flags import FLAGS

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.flags.export import define
from tf_simclrv2.cli.program import start
from tf_simclrv2.errors import UserError


def main() -> None:
    """Reads the command line and exports."""
    start(define, _export)


def _export() -> None:
    quiet_tensorflow()
    from tf_simclrv2.export.exporter import ExportConfig, export

    names = [field.name for field in dataclasses.fields(ExportConfig)]
    try:
        print(export(ExportConfig(**{name: FLAGS[name].value for name in names})))
    except UserError as error:
        sys.exit(f"error: {error}")
