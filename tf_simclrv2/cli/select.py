"""Chooses images to label: `simclrv2 select`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line, chooses, and says where the list is."""
    arguments = vars(_parser().parse_args())
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.select import SelectConfig, select

    say_at_once(select(SelectConfig(**arguments), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog=sys.argv[0], description="Chooses which embedded images to label next.")
    parser.add_argument("embeddings", metavar="FILE", help="what simclrv2 embed wrote")
    parser.add_argument("--budget", type=int, required=True, help="how many images to choose; required")
    parser.add_argument(
        "--output", required=True, metavar="LIST.csv", help="the list to fill in, for --labels_from; required"
    )
    parser.add_argument(
        "--strategy",
        default="typical",
        help="typical (the default), coverage, margin (of a fine-tuned network's classifier) or uniform",
    )
    parser.add_argument("--labeled", metavar="FILE.csv", help="images that have a label, as path,label")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn [0]")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    return parser
