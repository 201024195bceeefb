"""Does everything from a folder of pictures to a model: `simclrv2 auto`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line and does the job."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    arguments = vars(_parser().parse_args(words[:cut]))
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.auto.auto import AutoConfig, auto

    say_at_once(auto(AutoConfig(**arguments, flags=tuple(words[cut + 1 :])), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0],
        description="Pretrains on a folder, uses the labels that there are, and exports, within a time.",
        epilog="Flags of simclrv2 run after -- go to every training, as in: -- --random_flip=false",
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="FOLDER", help="the pictures, or train and test; required"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a folder for the job; required")
    parser.add_argument(
        "--budget", default="2h", metavar="TIME", help="the time it may take, such as 90m [2h]"
    )
    parser.add_argument(
        "--labels_from", metavar="FILE", help="a CSV file with path and label; default: class folders"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="measure, print the commands, and write nothing"
    )
    return parser
