"""Does everything from a folder of pictures to a model: `simclrv2 auto`."""

from __future__ import annotations

import sys

from tf_simclrv2.auto.auto_config import AutoConfig
from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line and does the job."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    settings = settings_in(_parser().parse_args(words[:cut]), AutoConfig)
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.auto.auto import auto

    say_at_once(auto(AutoConfig(**settings, flags=tuple(words[cut + 1 :])), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0],
        description="Pretrains on a folder, uses the available labels, and exports, within a time budget.",
        epilog="Every training run gets the flags of simclrv2 run after --, as in: -- --random_flip=false",
    )
    parser.add_settings(AutoConfig, data_dir="FOLDER", output="FOLDER", budget="TIME", labels_from="FILE")
    return parser
