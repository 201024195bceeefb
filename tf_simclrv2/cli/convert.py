"""Converts weights to and from the published form: `simclrv2 convert`, or `python -m export.convert`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.flags.convert import define
from tf_simclrv2.cli.flags.settings import values_in
from tf_simclrv2.cli.help_page import help_page
from tf_simclrv2.cli.program import start
from tf_simclrv2.export.convert_config import ConvertConfig
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.setting import settings_of


def main() -> None:
    """Reads the command line and converts."""
    start(define, _convert, _help)


def _help() -> str:
    purpose = "Converts weights between the published TF2 program's form and this package's."
    return help_page(sys.argv[0], purpose, {"flags": list(settings_of(ConvertConfig))})


def _convert() -> None:
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.export.convert import convert

    config = ConvertConfig(**values_in(ConvertConfig))
    with phase("converting", say_at_once):
        done = convert(config)
    say_at_once(done)
