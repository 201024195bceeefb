"""The accuracies of a claim's arms and what they say, from the results of the runs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.claims.claim import Arm, Claim, Comparison
from benchmarks.claims.verdict import Verdict, verdict


@dataclasses.dataclass(frozen=True)
class Sample:
    """A number over the seeds.

    Attributes:
        label: What it is of.
        values: One a seed.
    """

    label: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float:
        """Their sample standard deviation."""
        return statistics.stdev(self.values)

    @property
    def verdict(self) -> Verdict:
        """What they say as differences."""
        return verdict(self.values)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was measured of a claim.

    Attributes:
        letter: The claim's.
        title: The claim's.
        accuracies: Of every arm.
        differences: Of every comparison, paired by seed.
    """

    letter: str
    title: str
    accuracies: tuple[Sample, ...]
    differences: tuple[Sample, ...]


def find(claim: Claim, results: Mapping[str, Mapping[str, float]], seeds: Sequence[int]) -> Finding:
    """Collects a claim's numbers.

    Args:
        claim: The claim.
        results: Of the runs by name.
        seeds: The repetitions.
    """

    def values(arm: Arm) -> tuple[float, ...]:
        return tuple(results[f"{arm.stage}_{seed}"][arm.result] for seed in seeds)

    def difference(comparison: Comparison) -> tuple[float, ...]:
        more = zip(*map(values, comparison.more), strict=True)
        less = zip(*map(values, comparison.less), strict=True)
        return tuple(sum(high) - sum(low) for high, low in zip(more, less, strict=True))

    return Finding(
        claim.letter,
        claim.title,
        tuple(Sample(arm.label, values(arm)) for arm in claim.arms),
        tuple(Sample(comparison.label, difference(comparison)) for comparison in claim.comparisons),
    )
