"""What the results of a scale say about the claims of which every run has ended."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

from benchmarks.claims.claim import LETTERS, claims
from benchmarks.claims.findings import Finding, find
from benchmarks.claims.results import Results
from benchmarks.claims.scale import Scale, from_plain

SCALE = "scale.json"


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
        asked = [claim for claim in claims(results.scale) if claim.letter in letters]
        seeds = results.scale.seeds
        whole = [
            claim
            for claim in asked
            if all(f"{arm.stage}_{seed}" in results.by_stage for arm in claim.arms for seed in seeds)
        ]
        return cls(results.scale, tuple(find(claim, results.by_stage, seeds) for claim in whole))


def read_records(files: Iterable[pathlib.Path]) -> list[Record]:
    """Judges files of results; each claim counts once, where it was pretrained for the most images.

    Args:
        files: Of results, each of a scale.

    Returns:
        Those with claims to them, in the order of their first letters.
    """
    found = [Record.judge(Results.read(file), LETTERS) for file in files]
    found.sort(key=lambda record: record.scale.pretrain_images, reverse=True)
    seen: set[str] = set()
    records = []
    for record in found:
        new = tuple(finding for finding in record.findings if finding.letter not in seen)
        seen |= {finding.letter for finding in new}
        if new:
            records.append(Record(record.scale, new))
    return sorted(records, key=lambda record: record.findings[0].letter)


def claim_directory(output: pathlib.Path, scale: Scale) -> None:
    """Notes the scale in a new directory, so that no run of another scale is taken for one of this.

    Raises:
        SystemExit: The directory holds runs of another scale.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / SCALE
    if path.exists() and (other := from_plain(json.loads(path.read_text()))) != scale:
        names = [field.name for field in dataclasses.fields(Scale)]
        differ = [name for name in names if getattr(other, name) != getattr(scale, name)]
        raise SystemExit(
            f"{output} holds runs of another scale ({', '.join(differ)} differ); give another --output."
        )
    path.write_text(json.dumps(dataclasses.asdict(scale), indent=2) + "\n")
