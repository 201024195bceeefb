"""Results of claims' runs, from which a measurement continues elsewhere without their weights."""

from __future__ import annotations

import json
import pathlib

from benchmarks.claims.scale import Scale
from benchmarks.measuring.results_file import ResultsFile
from benchmarks.measuring.stages import RESULT

Results = ResultsFile[Scale]


def unpack(results: Results, output: pathlib.Path) -> None:
    """Puts each result where its run would have left it, so that the run is not repeated."""
    for name, result in results.results.items():
        file = output / name / RESULT
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(result, indent=2) + "\n")
