"""How many bytes of requests a server holds at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tf_simclrv2.serving.refusal import BUSY, TOO_LARGE, Refusal


class HeldBodies:
    """Counts the bytes of all requests that are not answered yet, and refuses more than fit.

    It is for a single thread: that of the event loop, which reads bodies.

    Args:
        most: The limit of all requests together, in bytes.

    Attributes:
        held: Bytes that are held now.

    Example:
        >>> bodies = HeldBodies(2**30)
        >>> with bodies.request() as hold:
        ...     hold(len(part))
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Gives a request a function that counts its bytes as they arrive, and lets go of them at its end.

        Raises:
            Refusal: From the function: more than the limit would be held. The sender may try again later,
                unless the request alone is too large.
        """
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if own + size > self._most:
                raise Refusal(
                    f"the request takes more than {self._most} bytes, all that requests may take together; "
                    "send less, or start the server with a larger --max_held.",
                    TOO_LARGE,
                )
            if self.held + size > self._most:
                raise Refusal(
                    f"unanswered requests take {self.held} of {self._most} bytes; send this one again later, "
                    "or start the server with a larger --max_held.",
                    BUSY,
                )
            self.held += size
            own += size

        try:
            yield hold
        finally:
            self.held -= own
