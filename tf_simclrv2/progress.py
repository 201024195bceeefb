"""Shows the progress of long work: a bar on a terminal, or a line every 30 seconds in a log."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

import tensorflow as tf
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0

Say = Callable[[str], None]
Item = TypeVar("Item")


class Progress:
    """Shows how many items are done, the rate, and the time left.

    It draws a bar on standard error if that is a terminal, and says a plain line every
    `SECONDS_BETWEEN_LINES` if standard output is not a terminal, as in a log.

    Args:
        what: What is counted; "step" gives `step 3 of 9: …`.
        total: The number of items.
        say: Receives the plain lines.
        start: The number of items already done; 0 by default.
        unit: What the rate counts; "items" by default.
        per_item: Units per item; 1 by default.
        leave: Whether the bar stays on the terminal at the end; False by default.

    Example:
        >>> with Progress("page", 300, print, unit="words", per_item=250) as progress:
        ...     for page in pages:
        ...         read(page)
        ...         progress.advance()
    """

    def __init__(
        self,
        what: str,
        total: int,
        say: Say,
        *,
        start: int = 0,
        unit: str = "items",
        per_item: int = 1,
        leave: bool = False,
    ) -> None:
        self._bar = tqdm(
            total=total,
            initial=start,
            unit=what.rpartition(" ")[2],
            desc=what,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            leave=leave,
        )
        self._say = say
        self._lines = not sys.stdout.isatty()
        self._what, self._total = what, total
        self._unit, self._per_item = unit, per_item
        self._done = self._line_done = start
        self._time = self._line_time = time.perf_counter()

    def advance(self, shown: Mapping[str, str] | None = None) -> None:
        """Counts one more item; `shown` are names and values to show with it."""
        self.reach(self._done + 1, shown)

    def reach(self, done: int, shown: Mapping[str, str] | None = None) -> None:
        """Sets the number of items done; `shown` are names and values to show with it."""
        now, words = time.perf_counter(), dict(shown or {})
        rate = (done - self._done) / (now - self._time)
        self._bar.set_postfix({f"{self._unit}/s": f"{rate * self._per_item:.1f}", **words}, refresh=False)
        self._bar.update(done - self._done)
        self._done, self._time = done, now
        if self._lines and now - self._line_time >= SECONDS_BETWEEN_LINES:
            self._say(self._line((done - self._line_done) / (now - self._line_time), words))
            self._line_done, self._line_time = done, now

    def _line(self, rate: float, words: dict[str, str]) -> str:
        parts = [f"{rate * self._per_item:.1f} {self._unit}/s", *(f"{k} {v}" for k, v in words.items())]
        if rate:  # It is 0 if loss scaling skipped every step.
            left = datetime.timedelta(seconds=round((self._total - self._done) / rate))
            parts.append(f"{left} left")
        return f"{self._what} {self._done:,} of {self._total:,}: {', '.join(parts)}"

    def close(self) -> None:
        """Ends the bar: leaves it on the terminal, or removes it."""
        self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def track(items: Collection[Item], what: str, say: Say | None) -> Iterator[Item]:
    """Yields the items and shows the progress through them; shows nothing if `say` is None."""
    if say is None:
        yield from items
        return
    with Progress(what, len(items), say) as progress:
        for item in items:
            yield item
            progress.advance()


def track_batches(
    batches: tf.data.Dataset, what: str, batch_size: int, say: Say
) -> Iterator[dict[str, tf.Tensor]]:
    """Yields the batches of a dataset of known cardinality, and shows the progress through them."""
    total = int(batches.cardinality())
    with Progress(f"{what}, batch", total, say, unit="images", per_item=batch_size) as progress:
        for batch in batches:
            yield batch
            progress.advance()
