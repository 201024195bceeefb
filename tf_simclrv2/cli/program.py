"""What the programs with absl flags share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from absl import app, logging


def start(define_flags: Callable[[], None], work: Callable[[], None]) -> None:
    """Defines a program's flags, reads the command line, and works.

    Args:
        define_flags: Defines the flags.
        work: Called when they are read; on an error it calls `sys.exit` with a sentence.
    """

    def main(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"{argv[1]!r} is not a flag; every option starts with --.")
        logging.set_verbosity(logging.ERROR)
        work()

    define_flags()
    app.run(main)
