"""The time that a whole job may take, and how much of it is left."""

from __future__ import annotations

import math
import re
import time

from tf_simclrv2.errors import ConfigError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(?:(\d+(?:\.\d+)?)([dhms]))+")
# A trial and the fewest stages start TensorFlow and trace a network five times. What these pictures take is
# known after the trial (`schedule.least_s`).
SHORTEST = 120.0


def seconds_of(budget: str) -> float:
    """Returns the seconds of a budget such as `2h`, `1h30m` or `90m`.

    Raises:
        ConfigError: It is not a time, or too short for any training.

    Example:
        >>> seconds_of("1h30m")
        5400.0
    """
    text = budget.strip().lower()
    if not _WRITTEN.fullmatch(text):
        raise ConfigError(f"budget is {budget!r}; write a time such as 90m, 2h or 1d12h.")
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    seconds = float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if seconds < SHORTEST:
        raise ConfigError(
            f"budget is {budget!r}, but starting the stages alone takes about {SHORTEST / 60:.0f} minutes; "
            "allow 10m or more."
        )
    return seconds


def duration(seconds: float) -> str:
    """Returns seconds as a person would say them: `40 s`, `12 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def in_minutes(seconds: float) -> str:
    """Returns the least budget of whole minutes that holds some seconds, as `--budget` takes it: `7m`."""
    return f"{math.ceil(seconds / 60)}m"


class Clock:
    """How much of a budget is left.

    Args:
        budget_s: Seconds of the whole job.
        used_s: Seconds that earlier calls of the same job took.
    """

    def __init__(self, budget_s: float, used_s: float = 0.0) -> None:
        self.budget_s = budget_s
        self._start = time.monotonic() - used_s

    @property
    def used_s(self) -> float:
        """Seconds since the job began, without the time between its calls."""
        return time.monotonic() - self._start

    @property
    def left_s(self) -> float:
        """Seconds that remain; negative when the budget is overdrawn."""
        return self.budget_s - self.used_s
