"""Finds near-duplicates among embedded images: `simclrv2 duplicates`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once

# Groups that are printed; a page or a table shows more.
PRINTED = 10


def main() -> None:
    """Reads the command line, searches, and prints what was found."""
    arguments = _parser().parse_args()
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.duplicates import DuplicatesConfig, find_duplicates

    config = DuplicatesConfig(tuple(arguments.embeddings), arguments.above, tuple(arguments.output))
    found = find_duplicates(config, say_at_once)
    say_at_once(found.summary)
    if config.outputs:
        return
    for group in found.groups[:PRINTED]:
        say_at_once("\n".join(f"  {image.cosine:.4f} {image.name}" for image in group) + "\n")
    if len(found.groups) > PRINTED:
        say_at_once(
            f"and {len(found.groups) - PRINTED:,} further groups; --output=duplicates.html shows them"
        )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0], description="Finds groups of embedded images that are nearly the same."
    )
    parser.add_argument(
        "embeddings", nargs="+", metavar="FILE", help="what simclrv2 embed wrote, for example of two splits"
    )
    parser.add_argument(
        "--above", type=float, default=0.99, help="the cosine above which images are near-duplicates [0.99]"
    )
    parser.add_outputs(", or a list of all but the first of each group (.txt)")
    return parser
