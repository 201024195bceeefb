"""Exports a trained network: `python -m export --model_dir=DIR --output=DIR …`."""

from __future__ import annotations

import os
import sys

# Before TensorFlow is imported: its start-up messages would drown ours.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses

from absl import app, flags, logging

from flags.export import define
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.export.exporter import ExportConfig, export


def main(argv: list[str]) -> None:
    """Reads the flags, exports, and says in one sentence what went wrong."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag; every option starts with --.")
    logging.set_verbosity(logging.ERROR)
    names = [field.name for field in dataclasses.fields(ExportConfig)]
    try:
        print(export(ExportConfig(**{name: flags.FLAGS[name].value for name in names})))
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    define()
    app.run(main)
