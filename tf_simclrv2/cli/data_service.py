"""Decodes and augments images for training on other hosts: `simclrv2 data-service`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.config import DataServiceConfig
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line, and serves until the program is told to stop."""
    parser = ArgumentParser(prog=sys.argv[0], description="Decodes and augments images for trainings.")
    parser.add_settings(DataServiceConfig)
    config = DataServiceConfig(**settings_in(parser.parse_args(), DataServiceConfig))
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.data.service import serve

    serve(config)
