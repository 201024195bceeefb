"""Embeds images with a trained network: `simclrv2 embed`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.embedding.embed_config import EmbedConfig
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line, embeds, and says where."""
    settings = settings_in(_parser().parse_args(), EmbedConfig)
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.embed import embed

    say_at_once(embed(EmbedConfig(**settings), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog=sys.argv[0], description="Writes the features of images to a file.")
    parser.add_settings(
        EmbedConfig, network="NETWORK", output="FILE", data_dir="FOLDER", files="LIST", dataset="NAME"
    )
    return parser
