"""SIGTERM, which schedulers send before they kill: noted, so that training can end in good order."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Preemption:
    """Notes SIGTERM while its context lasts; the handler from before is back afterwards.

    Outside the main thread, where Python allows no handlers, it notes nothing.

    Attributes:
        asked: Whether the signal has come.

    Example:
        >>> with Preemption() as preemption:
        ...     while not preemption.asked:
        ...         do_some_steps()
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False
        self._previous: signal._HANDLER = None

    def __enter__(self) -> Preemption:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            # None stands for a handler that Python did not install and cannot bring back.
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._previous is None else self._previous)
            self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
