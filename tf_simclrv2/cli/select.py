"""Chooses images to label: `simclrv2 select`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.embedding.select_config import SelectConfig
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line, chooses, and says where the list is."""
    settings = settings_in(_parser().parse_args(), SelectConfig)
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.select import select

    say_at_once(select(SelectConfig(**settings), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog=sys.argv[0], description="Chooses which embedded images to label next.")
    parser.add_settings(SelectConfig, embeddings="FILE", output="LIST.csv", labeled="FILE.csv")
    return parser
