"""Converts weights to and from the published form: `simclrv2 convert`, or `python -m export.convert`."""

from __future__ import annotations

import sys

from absl.flags import FLAGS

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.flags.convert import define
from tf_simclrv2.cli.program import start
from tf_simclrv2.errors import UserError


def main() -> None:
    """Reads the command line and converts."""
    start(define, _convert)


def _convert() -> None:
    quiet_tensorflow()
    from tf_simclrv2.export.convert import convert

    try:
        print(convert(FLAGS.input, FLAGS.output, FLAGS.format, FLAGS.overwrite, FLAGS.ft_proj_selector))
    except UserError as error:
        sys.exit(f"error: {error}")
