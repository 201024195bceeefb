"""What a client did wrong, in one sentence, and the status code that says so."""

from __future__ import annotations

BAD_REQUEST, NOT_FOUND, TIMED_OUT, TOO_LARGE, UNSUPPORTED, BUSY = 400, 404, 408, 413, 415, 503


class Refusal(Exception):
    """A request is not answered, and its sender can do something about it.

    Args:
        message: A sentence that names the value, the limit and the cure.
        status: The HTTP status code: of 400 to 499, by default 400, or `BUSY` if the same request may be sent
            again later.
    """

    def __init__(self, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status
