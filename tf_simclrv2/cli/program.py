"""What the programs with absl flags share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tf_simclrv2.cli import help_page
from tf_simclrv2.cli.recipes import with_flagfiles_read
from tf_simclrv2.cli.wrong_flags import refusal, value_that_is_a_flag, word_that_is_not_a_flag
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.progress import say_at_once


def start(define_flags: Callable[[], None], work: Callable[[], None], help_text: Callable[[], str]) -> None:
    """Defines a program's flags, reads the command line, and works.

    Args:
        define_flags: Defines the flags.
        work: Called when they are read.
        help_text: Returns what `--help` prints.
    """

    def main(argv: Sequence[str]) -> None:
        logging.set_verbosity(logging.ERROR)
        work()

    def parse(argv: Sequence[str]) -> list[str]:
        if any(word in help_page.WORDS for word in argv[1:]):
            say_at_once(help_text())
            sys.exit()
        if any(word in help_page.EVERY_FLAG for word in argv[1:]):
            say_at_once(help_page.full_help_page(argv[0]))
            sys.exit()
        return _parsed(argv, ours)

    before = set(flags.FLAGS)
    define_flags()
    ours = {*flags.FLAGS} - before | {"flagfile"}
    app.run(main, flags_parser=parse)


def _parsed(argv: Sequence[str], ours: set[str]) -> list[str]:
    """Reads the flags; a command line that cannot be read ends the program with a sentence."""
    try:
        words = [argv[0], *with_flagfiles_read(argv[1:])]
        fault = value_that_is_a_flag(words)
        rest = [] if fault else flags.FLAGS(words)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except (flags.Error, ValueError) as error:
        sys.exit(f"error: {refusal(error, ours)}")
    if len(rest) > 1:
        fault = word_that_is_not_a_flag(rest[1], words)
    if fault:
        sys.exit(f"error: {fault}")
    return rest
