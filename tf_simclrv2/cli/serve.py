"""Serves an exported module over HTTP: `simclrv2 serve`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.serving.bound_socket import bound_socket
from tf_simclrv2.serving.serve_config import ServeConfig, require_packages
from tf_simclrv2.setting import settings_of


def main() -> None:
    """Reads the command line, and serves until the program is told to stop."""
    config = ServeConfig(**vars(_parser().parse_args()))
    require_packages()
    with bound_socket(config.host, config.port) as bound:
        quiet_tensorflow()
        with phase("starting TensorFlow", say_at_once):
            from tf_simclrv2.serving.server import serve

        serve(config, bound, say_at_once)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0], description="Answers requests as TensorFlow Serving's REST interface does."
    )
    settings = dict(settings_of(ServeConfig))
    parser.add_argument("module", metavar="MODULE", help=settings.pop("module").help)
    for setting in settings.values():
        default = "" if setting.default is None else f" [{setting.default}]"
        parser.add_argument(
            f"--{setting.flag}", type=setting.kind, default=setting.default, help=setting.text + default
        )
    return parser
