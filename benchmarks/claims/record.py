"""What the results of a scale say about the claims of which every run has ended."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from benchmarks.claims.claim import LETTERS, claims
from benchmarks.claims.findings import Finding, find
from benchmarks.claims.results import Results
from benchmarks.claims.scale import Scale


@dataclasses.dataclass(frozen=True)
class Record:
    """A measurement.

    Attributes:
        scale: How large it was.
        findings: One a claim.
    """

    scale: Scale
    findings: tuple[Finding, ...]

    @classmethod
    def judge(cls, results: Results, letters: Sequence[str]) -> Record:
        """Judges those of some claims that have been measured with every seed."""
        asked = [claim for claim in claims(results.settings) if claim.letter in letters]
        seeds = results.settings.seeds
        whole = [
            claim
            for claim in asked
            if all(f"{arm.stage}_{seed}" in results.results for arm in claim.arms for seed in seeds)
        ]
        return cls(results.settings, tuple(find(claim, results.results, seeds) for claim in whole))


def read_records(files: Iterable[pathlib.Path]) -> list[Record]:
    """Judges files of results; each claim counts once, where it was pretrained for the most images.

    Args:
        files: Of results, each of a scale.

    Returns:
        Those with claims to them, in the order of their first letters.
    """
    found = [Record.judge(Results.read(file, Scale), LETTERS) for file in files]
    found.sort(key=lambda record: record.scale.pretrain_images, reverse=True)
    seen: set[str] = set()
    records = []
    for record in found:
        new = tuple(finding for finding in record.findings if finding.letter not in seen)
        seen |= {finding.letter for finding in new}
        if new:
            records.append(Record(record.scale, new))
    return sorted(records, key=lambda record: record.findings[0].letter)
