"""The time that a stream of batches takes; for input pipelines of any framework."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP_BATCHES = 2


def seconds_of(make_batch: Callable[[], object], batches: int) -> float:
    """Seconds of some batches after the warm-up; `make_batch` returns when one is there."""
    for _ in range(WARM_UP_BATCHES):
        make_batch()
    start = time.perf_counter()
    for _ in range(batches):
        make_batch()
    return time.perf_counter() - start
