"""What a measurement of the claims leaves: `claims.json`."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from benchmarks.claims.findings import Finding, from_plain
from benchmarks.claims.scale import Scale

RECORD, SCALE = "claims.json", "scale.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """A measurement.

    Attributes:
        scale: How large it was.
        findings: One a claim.
    """

    scale: Scale
    findings: tuple[Finding, ...]

    def write(self, output: pathlib.Path) -> None:
        """Writes OUTPUT/claims.json."""
        (output / RECORD).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, output: pathlib.Path) -> Record:
        """Reads OUTPUT/claims.json.

        Raises:
            SystemExit: It is not there.
        """
        path = output / RECORD
        if not path.exists():
            raise SystemExit(f"{path} does not exist; measure first: the same command without --docs.")
        plain = json.loads(path.read_text())
        return cls(_scale(plain["scale"]), tuple(map(from_plain, plain["findings"])))


def claim_directory(output: pathlib.Path, scale: Scale) -> None:
    """Notes the scale in a new directory, so that no run of another scale is taken for one of this.

    Raises:
        SystemExit: The directory holds runs of another scale.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / SCALE
    if path.exists() and (other := _scale(json.loads(path.read_text()))) != scale:
        names = [field.name for field in dataclasses.fields(Scale)]
        differ = [name for name in names if getattr(other, name) != getattr(scale, name)]
        raise SystemExit(
            f"{output} holds runs of another scale ({', '.join(differ)} differ); give another --output."
        )
    path.write_text(json.dumps(dataclasses.asdict(scale), indent=2) + "\n")


def _scale(plain: dict) -> Scale:
    return Scale(**{**plain, "seeds": tuple(plain["seeds"])})
