"""The command line of the examples in this folder."""

import inspect
import sys
from collections.abc import Callable


def run(main: Callable[..., None]) -> None:
    """Calls `main` with the words of the command line, or says how the example is used."""
    words = sys.argv[1:]
    try:
        inspect.signature(main).bind(*words)
    except TypeError:
        sys.exit(inspect.getdoc(sys.modules["__main__"]))
    main(*words)
