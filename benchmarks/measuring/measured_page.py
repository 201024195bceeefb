"""The part of a page that a benchmark writes, and how its numbers are written."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Sequence

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOTHING = "Nothing has been measured yet."


def rewrite(page: pathlib.Path, measured: str) -> None:
    """Puts text between the two marks of a page.

    Raises:
        SystemExit: The page has not both marks, once each and in order.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after:
        raise SystemExit(f"{page} must have one line {BEGIN} and one {END} after it; put them back.")
    page.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}")


def shown_part(page: pathlib.Path) -> str:
    """Returns the text between the two marks of a page."""
    return page.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def percent(values: Sequence[float], sign: str = "") -> str:
    """Mean and, of several values, sample standard deviation, in percent; with the sign `+` even above 0."""
    mean = f"{100 * statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
