"""Ctrl-C: a program ends with one line and exit code 130, whatever it is busy with.

Python runs the handler of a signal only between two of its own instructions. A training step, a compilation
or a fit may keep it from that for minutes, so a thread hears of the signal too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import ClassVar, NoReturn

from tf_simclrv2.errors import EXIT_INTERRUPTED

# Seconds that a program has to clear away what is half-written, before it ends as it stands.
GRACE = 2.0
# Last lines of programs that have nothing better to say.
START_AGAIN = "stopped by Ctrl-C; type the same command to start again"
CONTINUE = "stopped by Ctrl-C; type the same command to continue"
NOTHING_WRITTEN = "stopped by Ctrl-C; nothing was written; type the same command to start again"
_CLEAR_LINE = b"\r\x1b[K"

Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def heard_at_once(
    numbers: Iterable[signal.Signals], handler: Handler, hear: Callable[[int], None]
) -> Iterator[None]:
    """Handles signals while its context lasts; the handlers from before are back afterwards.

    Outside the main thread, where Python allows no handlers, it does nothing. A SIGHUP that is ignored stays
    so.

    Args:
        numbers: The signals.
        handler: Called in the main thread, as soon as Python runs there.
        hear: Called with the signal's number in another thread, at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    listener = threading.Thread(target=_listen, args=(read, hear), name="signals", daemon=True)
    listener.start()
    # `nohup` lets a program go on when its terminal is closed.
    kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    before = {number: signal.signal(number, handler) for number in numbers if number not in kept}
    outer = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        for number, previous in before.items():
            # None stands for a handler that Python did not install and cannot bring back.
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
        os.close(write)
        listener.join(GRACE)  # Nothing is heard after the context.


def _listen(read: int, hear: Callable[[int], None]) -> None:
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            hear(number[0])


class CtrlC:
    """Ends the program at Ctrl-C while its context lasts.

    The first Ctrl-C raises KeyboardInterrupt, so that what is half-written is cleared away. If the program
    is still there after `GRACE` seconds, because it computes outside of Python, or if Ctrl-C is pressed
    again, it ends as it stands.

    Args:
        last_line: What the program says then.

    Attributes:
        current: The one whose context lasts; None if the program does not end that way.
        last_line: Returns what the program says then; may be replaced when more is known.

    Example:
        >>> with CtrlC("stopped by Ctrl-C"):
        ...     work()
    """

    current: ClassVar[CtrlC | None] = None

    def __init__(self, last_line: str = START_AGAIN) -> None:
        self.last_line: Callable[[], str] = lambda: last_line
        self._is_asked = False
        self._times = 0
        self._ending = threading.Lock()
        self._handling = contextlib.ExitStack()

    def __enter__(self) -> CtrlC:
        self._handling.enter_context(heard_at_once([signal.SIGINT], self._interrupt, lambda _: self.hear()))
        CtrlC.current = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whatever ends the program now follows from Ctrl-C: the loss of a worker that has ended already.
        if kind is not None and (self._is_asked or issubclass(kind, KeyboardInterrupt)):
            self.end()
        CtrlC.current = None
        self._handling.close()
        # Python's own end takes a moment; it is killed without a traceback.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)

    def _interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        self._is_asked = True
        raise KeyboardInterrupt

    def hear(self) -> None:
        """Reacts to Ctrl-C, in a thread other than the main one."""
        self._is_asked = True
        self._times += 1
        if self._times > 1:
            self.end()
        timer = threading.Timer(GRACE, self.end)
        timer.daemon = True
        timer.start()

    def end(self) -> NoReturn:
        """Says the last line and ends the process as it stands."""
        # A second thread that comes here lets the first one speak, unless that takes too long.
        if self._ending.acquire(timeout=GRACE):
            with contextlib.suppress(Exception):
                end_as_it_stands(self.last_line(), EXIT_INTERRUPTED)
        os._exit(EXIT_INTERRUPTED)


def end_as_it_stands(line: str, exit_code: int) -> NoReturn:
    """Writes a last line and ends the process, without TensorFlow's clearing up, which takes seconds.

    The line goes past Python's buffers, which another thread may hold, and over the bar of a terminal.
    """
    with contextlib.suppress(OSError):
        if threading.current_thread() is threading.main_thread():
            sys.stdout.flush()
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, _CLEAR_LINE)
    # Ctrl-C ends the reader of a pipe too, as in `python run.py 2>&1 | tee log`.
    for stream in (1, 2, "/dev/tty"):
        with contextlib.suppress(OSError):
            file = stream if isinstance(stream, int) else os.open(stream, os.O_WRONLY)
            os.write(file, f"{line}\n".encode())
            break
    os._exit(exit_code)


def end_quietly_while_starting() -> None:
    """Ends the program at Ctrl-C until a `CtrlC` does; for imports that no context can enclose."""
    signal.signal(signal.SIGINT, lambda *_: CtrlC().end())


def say_last(line: Callable[[], str]) -> None:
    """Sets what the program says when Ctrl-C ends it; does nothing in another program."""
    if CtrlC.current is not None:
        CtrlC.current.last_line = line
