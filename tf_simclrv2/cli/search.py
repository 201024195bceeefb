"""Searches embedded images: `simclrv2 search`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once

# Queries whose hits are printed; a page or a table shows more.
PRINTED = 10


def main() -> None:
    """Reads the command line, searches, and prints what was found."""
    arguments = _parser().parse_args()
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.search import SearchConfig, search

    config = SearchConfig(
        arguments.embeddings,
        tuple(arguments.queries),
        arguments.k,
        arguments.network,
        tuple(arguments.output),
        arguments.index,
    )
    hits = search(config, say_at_once)
    if config.outputs and len(hits.queries) > PRINTED:
        return
    for number, (name, found) in enumerate(hits):
        if number == PRINTED:
            say_at_once(f"and {len(hits.queries) - PRINTED:,} further queries; --output=hits.html shows them")
            break
        say_at_once(f"{name}:")
        for path, cosine, _ in found:
            say_at_once(f"  {cosine:.4f} {path}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=sys.argv[0], description="Finds the embedded images that are most similar to others, by cosine."
    )
    parser.add_argument("embeddings", metavar="FILE", help="what simclrv2 embed wrote")
    parser.add_argument(
        "queries",
        nargs="+",
        metavar="QUERY",
        help="the name of an image in FILE, an image file, a folder, or another embedding file",
    )
    parser.add_argument("--k", type=int, default=10, help="how many images to find for each query [10]")
    parser.add_argument("--network", help="embeds image files [the network that made FILE]")
    parser.add_argument(
        "--index",
        choices=("exact", "approximate"),
        default="exact",
        help="compare with all images, or find most of the nearest with an index beside FILE [exact]",
    )
    parser.add_outputs()
    return parser
