"""Shows the progress of long work: a bar on a terminal or in a notebook, else a line every 30 seconds.

A thread checks once a second which work is in progress. Nothing is silent, however long a single step, a
compilation or a fit takes.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import threading
import time
import typing
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from tf_simclrv2.notebook_line import NotebookLine, running_cell

if typing.TYPE_CHECKING:
    import tensorflow as tf

SECONDS_BETWEEN_LINES = 30.0
# Seconds between two checks of the work in progress.
_BEAT = 1.0
# A phase that is shorter than this shows nothing on a terminal, and nothing shorter is shown in a notebook.
_SHORT = 2.0

Say = Callable[[str], None]
Item = TypeVar("Item")


def say_at_once(text: str) -> None:
    """Prints a line that is seen now, in a file too.

    Nobody may read it any more: Ctrl-C in `python run.py | tee log` ends `tee` first. The program continues.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Else the rest of the buffer would be written, and fail, at each further line and at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def is_terminal(stream: TextIO) -> bool:
    """Returns whether a person sees a bar on a stream.

    A terminal without a width shows none (`docker exec -t` from a script), and neither does the log of
    continuous integration, although both call themselves terminals.
    """
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if in_ci or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):  # It has no number, as in an editor's console.
        return True


class _Heartbeat:
    """Calls `beat` of the innermost work in progress, once a second, in a thread that ends with the work.

    Attributes:
        silent_since: When the last line was said, or when work began after nothing had gone on.
    """

    def __init__(self) -> None:
        self.silent_since = 0.0
        self._idle_since = 0.0
        self._works: list[weakref.ref[_Work]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cell: int | None = None

    def begin(self, work: _Work) -> None:
        now = time.perf_counter()
        with self._lock:
            # Short phases that follow each other count together.
            if not self._works and abs(now - self._idle_since) > _BEAT:
                self.silent_since = now
            # Weakly, for work that an error has ended may never be closed.
            self._works.append(weakref.ref(work))
            # What a thread shows belongs to the notebook's cell that started it.
            if self._thread is None or self._cell != running_cell():
                self._cell = running_cell()
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()

    def end(self, work: _Work) -> None:
        with self._lock:
            self._works = [other for other in self._works if other() not in (None, work)]
            self._idle_since = time.perf_counter()

    def _run(self) -> None:
        while True:
            threading.Event().wait(_BEAT)
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                self._works = [work for work in self._works if work() is not None]
                work = self._works[-1]() if self._works else None
                if work is None:
                    self._thread = None
                    return
            # What is shown must never harm what is done.
            with contextlib.suppress(Exception):
                work.beat()
            del work


_HEARTBEAT = _Heartbeat()


class _Work:
    """Something that takes long: where it is shown, and when a line is due."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._in_notebook = running_cell() is not None
        self._has_bar = self._in_notebook or is_terminal(sys.stderr)
        self._has_lines = not (self._in_notebook or (self._has_bar and is_terminal(sys.stdout)))
        self._start = time.perf_counter()
        self._lock = threading.RLock()
        _HEARTBEAT.begin(self)

    def _make_bar(self, leave: bool, **options: Any) -> tqdm:
        """A bar on standard error or, in a notebook, below the cell, where nothing shown can be removed."""
        file = NotebookLine(_SHORT - time.perf_counter() + self._start) if self._in_notebook else None
        return tqdm(
            file=file,
            disable=not self._has_bar,
            dynamic_ncols=True,
            mininterval=0.5 if self._in_notebook else 0.1,  # A notebook keeps up with few messages.
            leave=leave or self._in_notebook,
            **options,
        )

    def beat(self) -> None:
        """Shows the present state; called once a second."""
        raise NotImplementedError(type(self).__name__)

    def _is_line_due(self, now: float) -> bool:
        return self._has_lines and now - _HEARTBEAT.silent_since >= SECONDS_BETWEEN_LINES

    def _say_line(self, text: str, now: float) -> None:
        _HEARTBEAT.silent_since = now
        self._say(text)

    def close(self) -> None:
        """Ends what is shown."""
        _HEARTBEAT.end(self)

    def __exit__(self, *_: object) -> None:
        self.close()


class Progress(_Work):
    """Shows how many items are done, the rate, and the time left.

    It draws a bar on standard error if that is a terminal, or below the running cell of a notebook. If a
    terminal is missing, as in a log, it says a plain line every `SECONDS_BETWEEN_LINES`, even if a single
    item takes longer.

    Args:
        what: What is counted; "step" gives `step 3 of 9: …`.
        total: The number of items.
        say: Receives the plain lines, also from another thread.
        start: The number of items already done; 0 by default.
        unit: What the rate counts; "items" by default.
        per_item: Units per item; 1 by default.
        leave: Whether the bar stays on the terminal at the end, as it does in a notebook; False by default.
        look: Returns the number of items done by now, if that is known before `reach` is called; called in
            another thread.

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
        look: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(say)
        self._bar = self._make_bar(leave, total=total, initial=start, unit=what.rpartition(" ")[2], desc=what)
        self._what, self._total = what, total
        self._unit, self._per_item = unit, per_item
        self._look = look
        self._words: dict[str, str] = {}
        self._done = self._line_done = self._reached = start
        self._time = self._line_time = self._reached_time = self._start

    def advance(self, shown: Mapping[str, str] | None = None) -> None:
        """Counts one more item; `shown` are names and values to show with it."""
        self.reach(self._done + 1, shown)

    def reach(self, done: int, shown: Mapping[str, str] | None = None) -> None:
        """Sets the number of items done; `shown` are names and values to show with it."""
        now, words = time.perf_counter(), dict(shown or {})
        with self._lock:
            rate = (done - self._reached) / (now - self._reached_time)
            self._bar.set_postfix({f"{self._unit}/s": f"{rate * self._per_item:.1f}", **words}, refresh=False)
            self._reached, self._reached_time, self._words = done, now, words
            self._move(done, now)
            if self._is_line_due(now):
                self._say_state(now)

    def beat(self) -> None:
        with self._lock:
            now = time.perf_counter()
            done = self._look() if self._look else self._done
            if done > self._done:
                self._move(done, now)
            self._bar.refresh()
            if self._is_line_due(now):
                self._say_state(now)

    def _move(self, done: int, now: float) -> None:
        self._bar.update(done - self._done)
        self._done, self._time = done, now

    def _say_state(self, now: float) -> None:
        state = f"{self._what} {self._done:,} of {self._total:,}"
        if self._done == self._line_done and self._time < now:
            waiting = "finishing" if self._done >= self._total else "at the next one"
            parts = [f"{waiting} for {_duration(now - self._time)}", *self._shown]
        else:
            rate = (self._done - self._line_done) / (now - self._line_time)
            parts = [f"{rate * self._per_item:.1f} {self._unit}/s", *self._shown]
            if rate:  # It is 0 if loss scaling skipped every step.
                parts.append(f"{_duration((self._total - self._done) / rate)} left")
            self._line_done, self._line_time = self._done, now
        self._say_line(f"{state}: {', '.join(parts)}", now)

    @property
    def _shown(self) -> list[str]:
        return [f"{name} {value}" for name, value in self._words.items()]

    def close(self) -> None:
        """Ends the bar: leaves it on the terminal, or removes it."""
        super().close()
        with self._lock:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self


class _Phase(_Work):
    """What `phase` shows."""

    def __init__(self, what: str, say: Say) -> None:
        super().__init__(say)
        self._what = what
        self._bar: tqdm | None = None
        self._closed = False

    def beat(self) -> None:
        with self._lock:
            now = time.perf_counter()
            if self._closed:
                return
            if self._has_bar and now - self._start >= _SHORT:
                self._draw(now)
            if self._is_line_due(now):
                self._say_line(f"{self._what}: {_duration(now - self._start)} so far", now)

    def _draw(self, now: float) -> None:
        text = f"{self._what}: {_duration(now - self._start)}"
        if self._bar is None:
            self._bar = self._make_bar(False, bar_format="{desc}", desc=text)
        self._bar.set_description_str(text)

    def close(self) -> None:
        """Removes what is shown."""
        super().close()
        with self._lock:
            self._closed = True
            if self._bar is not None:
                self._bar.close()

    def __enter__(self) -> _Phase:
        return self


def phase(what: str, say: Say | None) -> contextlib.AbstractContextManager:
    """Shows that work of unknown length is in progress, and for how long.

    On a terminal it is a line that disappears at the end, in a notebook one that stays, in a log a line every
    `SECONDS_BETWEEN_LINES`.

    Args:
        what: What is done.
        say: Receives the plain lines, from another thread; None shows nothing.

    Example:
        >>> with phase("reading the pictures", print):
        ...     pictures = read(folder)
    """
    return contextlib.nullcontext() if say is None else _Phase(what, say)


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


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
