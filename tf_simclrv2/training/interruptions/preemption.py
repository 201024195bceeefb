"""SIGTERM, which schedulers send before they kill, and Ctrl-C: noted, so that training ends in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from tf_simclrv2.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED
from tf_simclrv2.interruption import CtrlC, heard_at_once
from tf_simclrv2.progress import Say

# Seconds after which Ctrl-C is acknowledged, if training is still there.
PATIENCE = 2.0
NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
EXIT_CODES = {signal.SIGTERM: EXIT_PREEMPTED, signal.SIGINT: EXIT_INTERRUPTED}


def _nothing() -> None:
    pass


class Preemption:
    """Notes SIGTERM and Ctrl-C while its context lasts; the handlers from before are back afterwards.

    A second Ctrl-C is not noted: it ends the program at once, or raises KeyboardInterrupt where Python is
    not a program of this package. Outside the main thread, where Python allows no handlers, nothing is noted.

    Args:
        when_noted: Called at once, in another thread.
        is_worth_saving: Whether Ctrl-C is noted; else the first one is treated like a second.
        say: Receives a line if training is still there `PATIENCE` seconds after Ctrl-C.

    Attributes:
        signal: The number of the signal that has come; 0 before.

    Example:
        >>> with Preemption() as preemption:
        ...     while not preemption.signal:
        ...         do_some_steps()
    """

    def __init__(
        self,
        when_noted: Callable[[], None] = _nothing,
        is_worth_saving: Callable[[], bool] = lambda: True,
        say: Say = lambda _: None,
    ) -> None:
        self.signal = 0
        self._when_noted = when_noted
        self._is_worth_saving = is_worth_saving
        self._acknowledgement = threading.Timer(
            PATIENCE, say, ["Ctrl-C: finishing the step, then saving; press it again to end at once"]
        )
        self._acknowledgement.daemon = True
        self._deciding = threading.Lock()
        self._is_refused = False
        self._handled = self._heard = 0
        self._handling = contextlib.ExitStack()

    def __enter__(self) -> Preemption:
        self._handling.enter_context(heard_at_once(NAMES, self._handle, self._hear))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handling.close()
        self._acknowledgement.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Notes a signal in the main thread, or raises KeyboardInterrupt there."""
        self._handled += number == signal.SIGINT
        if not self._notes(number) or (number == signal.SIGINT and self._handled > 1):
            raise KeyboardInterrupt

    def _hear(self, number: int) -> None:
        """Notes a signal while the main thread is outside of Python."""
        self._heard += number == signal.SIGINT
        if not self._notes(number):
            if CtrlC.current:
                CtrlC.current.hear()
        elif self._heard > 1:
            if CtrlC.current:
                CtrlC.current.end()
        else:
            self._when_noted()
            if number == signal.SIGINT:
                self._acknowledgement.start()

    def _notes(self, number: int) -> bool:
        """Whether a signal is noted; both threads get the same answer."""
        with self._deciding:
            if not self.signal and number == signal.SIGINT:
                self._is_refused = self._is_refused or not self._is_worth_saving()
                if self._is_refused:
                    return False
            self.signal = self.signal or number
            return True
