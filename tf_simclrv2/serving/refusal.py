"""What a client did wrong, in one sentence, and the status code that says so."""

from __future__ import annotations

BAD_REQUEST, NOT_FOUND, TIMED_OUT, TOO_LARGE, UNSUPPORTED = 400, 404, 408, 413, 415


class Refusal(Exception):
    """A request cannot be answered, and its sender can mend it.

    Args:
        message: A sentence that names the value, the limit and the cure.
        status: The HTTP status code, of 400 to 499; 400 by default.
    """

    def __init__(self, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status
