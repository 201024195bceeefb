"""Serves an exported module over HTTP: `simclrv2 serve`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.serving.bound_socket import bound_socket
from tf_simclrv2.serving.serve_config import ServeConfig, require_packages


def main() -> None:
    """Reads the command line, and serves until the program is asked to stop."""
    config = ServeConfig(**settings_in(_parser().parse_args(), ServeConfig))
    require_packages()
    with bound_socket(config.host, config.port) as bound:
        quiet_tensorflow()
        with phase("starting TensorFlow", say_at_once):
            from tf_simclrv2.serving.server import serve

        serve(config, bound, say_at_once)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0], description="Serves an exported module with TensorFlow Serving's REST API."
    )
    parser.add_settings(ServeConfig, module="MODULE")
    return parser
