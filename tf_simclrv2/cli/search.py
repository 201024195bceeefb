"""Searches embedded images: `simclrv2 search`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.embedding.search_config import SearchConfig
from tf_simclrv2.progress import phase, say_at_once

# Queries whose hits are printed; a page or a table shows more.
PRINTED = 10


def main() -> None:
    """Reads the command line, searches, and prints what was found."""
    settings = settings_in(_parser().parse_args(), SearchConfig)
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.search import search

    config = SearchConfig(**settings)
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
        prog=sys.argv[0],
        description="Finds the embedded images that are most similar to given ones, by cosine.",
    )
    parser.add_settings(SearchConfig, embeddings="FILE", queries="QUERY", outputs="FILE")
    return parser
