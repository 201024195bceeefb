"""Results of runs in one file, from which a measurement goes on elsewhere without their weights."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from benchmarks.claims.scale import Scale, from_plain
from benchmarks.stages import RESULT


@dataclasses.dataclass
class Results:
    """Numbers of runs by their names.

    Attributes:
        path: The file.
        scale: Of all of them.
        by_stage: What each run has measured.
    """

    path: pathlib.Path
    scale: Scale
    by_stage: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, path: pathlib.Path, scale: Scale) -> Results:
        """Reads the file, if it is there.

        Raises:
            SystemExit: It holds results of another scale.
        """
        if not path.exists():
            return cls(path, scale)
        found = cls.read(path)
        if found.scale != scale:
            raise SystemExit(f"{path} holds results of another scale; give another --results.")
        return found

    @classmethod
    def read(cls, path: pathlib.Path) -> Results:
        """Reads a file that is there, of whatever scale."""
        found = json.loads(path.read_text())
        return cls(path, from_plain(found["scale"]), found["results"])

    def unpack(self, output: pathlib.Path) -> None:
        """Puts each result where its run would have left it, so that the run is not repeated."""
        for name, result in self.by_stage.items():
            file = output / name / RESULT
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(result, indent=2) + "\n")

    def add(self, name: str, result: dict[str, float]) -> None:
        """Notes what a run has measured."""
        self.by_stage[name] = result
        values = {"scale": dataclasses.asdict(self.scale), "results": dict(sorted(self.by_stage.items()))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(values, indent=1) + "\n")
