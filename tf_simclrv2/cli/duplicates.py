"""Finds near-duplicates among embedded images: `simclrv2 duplicates`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.embedding.duplicates_config import DuplicatesConfig
from tf_simclrv2.progress import phase, say_at_once

# Groups that are printed; a page or a table shows more.
PRINTED = 10


def main() -> None:
    """Reads the command line, searches, and prints what was found."""
    settings = settings_in(_parser().parse_args(), DuplicatesConfig)
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.duplicates import find_duplicates

    config = DuplicatesConfig(**settings)
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
    parser.add_settings(DuplicatesConfig, embeddings="FILE", outputs="FILE")
    return parser
