"""Whether a difference over repetitions speaks for a claim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["seen", "undecided", "the opposite"]


def verdict(differences: Sequence[float]) -> Verdict:
    """Compares the mean of the paired differences with their sample standard deviation.

    Args:
        differences: What the claim says to be positive, one a seed; at least two.

    Example:
        >>> verdict([0.02, 0.03, 0.04])
        'seen'
    """
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if mean > deviation:
        return "seen"
    return "the opposite" if mean < -deviation else "undecided"
