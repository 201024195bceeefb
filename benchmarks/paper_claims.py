"""Claims of the paper, measured again on Fashion-MNIST with small networks and three seeds.

    python benchmarks/paper_claims.py [--scale=small] [--claim=b ...] [--output=runs/paper_claims]
    python benchmarks/paper_claims.py --docs

The first command pretrains, fine-tunes, distills and trains from scratch, and prints a table for each claim.
Every run has a process with one thread, and as many run at once as there are cores. Typing it again resumes.
`--seed=0` leaves the other repetitions for later. OUTPUT/results.json holds what each run has measured; with
`--results=FILE` a measurement continues elsewhere, without repeating the runs in that file. `--piece=NAME`
runs one part, with what its runs start from; `--scale=full --pieces` lists parts of minutes on a GPU. The
second command writes what docs/measured/claims_*.json hold into docs/claims.md, with a figure for each claim.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.claims import figures
from benchmarks.claims.claim import LETTERS, claims
from benchmarks.claims.estimate import piece_seconds
from benchmarks.claims.execute import execute
from benchmarks.claims.page import measured_part, sentence, table
from benchmarks.claims.plan import IMAGES, Stage, needed, pieces, plan
from benchmarks.claims.record import Record, read_records
from benchmarks.claims.results import Results, unpack
from benchmarks.claims.scale import SCALES, Scale
from benchmarks.measuring.fashion_mnist import default_source, write_image_folder
from benchmarks.measuring.measured_page import rewrite
from benchmarks.measuring.results_file import claim_folder
from benchmarks.measuring.stages import add_process_flags, be_quiet, stage_processes
from flags import define_flags

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
MEASURED = DOCS / "measured"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be measured.

    Attributes:
        scale: How large.
        letters: Which claims.
        seeds: Which repetitions are run now; the others must have been, for the claims to be judged.
        piece: The only part that is run now; None for all.
    """

    scale: Scale
    letters: Sequence[str]
    seeds: Sequence[int]
    piece: str | None = None


def measure(
    request: Request, output: pathlib.Path, results_file: pathlib.Path, processes: Executor
) -> Record | None:
    """Runs what is not there yet, and collects the numbers of the claims; None if repetitions are missing."""
    scale = request.scale
    claim_folder(output, scale)
    archive = Results.open(results_file, scale)
    unpack(archive, output)
    images = {"train": scale.train_images, "test": scale.test_images}
    write_image_folder(output / IMAGES, images, scale.source)
    asked = [claim for claim in claims(scale) if claim.letter in request.letters]
    stages = plan(scale, output)
    now = needed(stages, asked, request.seeds) if request.piece is None else pieces(stages)[request.piece]
    execute(now, output, processes, note=archive.add)
    if missing := [s.name for s in needed(stages, asked, scale.seeds) if s.name not in archive.results]:
        print(f"{len(missing)} runs are left, such as {missing[0]}; the claims are judged when all are done.")
        return None
    return Record.judge(archive, request.letters)


def write_docs() -> None:
    """Writes the measured part of docs/claims.md and its figures."""
    records = read_records(MEASURED.glob("claims_*.json"))
    for finding in (finding for record in records for finding in record.findings):
        figures.save(finding, DOCS / "images")
    rewrite(DOCS / "claims.md", measured_part(records))


def print_pieces(parts: Mapping[str, Sequence[Stage]], scale: Scale) -> None:
    """Prints the parts of a measurement, a line each."""
    for name, stages in parts.items():
        minutes = piece_seconds(stages, scale) / 60
        runs = ", ".join(stage.name for stage in stages)
        print(f"{name}: {runs}; about {minutes:.1f} minutes on an H200")


def main() -> None:
    """Measures, or writes the documentation of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/paper_claims"))
    parser.add_argument("--scale", choices=SCALES, default="small", help="full asks for a GPU")
    parser.add_argument("--source", choices=("debian", "tfds"), default=default_source())
    parser.add_argument("--claim", choices=[*LETTERS], action="append", help="default: all")
    parser.add_argument("--seed", type=int, action="append", help="which to run; default: all of the scale")
    parser.add_argument("--piece", help="run this part alone; --pieces lists them")
    parser.add_argument("--pieces", action="store_true", help="list the parts of the measurement")
    parser.add_argument(
        "--results", type=pathlib.Path, help="file of results to continue from; default: OUTPUT/results.json"
    )
    parser.add_argument("--epochs", type=int, help="of pretraining, instead of the scale's")
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="instead of the scale's; without AVX-512 float32 is the faster one",
    )
    parser.add_argument("--docs", action="store_true", help="write docs/claims.md from docs/measured/")
    add_process_flags(parser)
    arguments = parser.parse_args()
    if arguments.docs:
        write_docs()
        return
    scale = dataclasses.replace(SCALES[arguments.scale], source=arguments.source)
    if arguments.epochs:
        scale = dataclasses.replace(scale, pretrain_epochs=arguments.epochs)
    if arguments.precision:
        scale = dataclasses.replace(scale, precision=arguments.precision)
    if unknown := {*(arguments.seed or ())} - {*scale.seeds}:
        parser.error(f"--seed is {unknown.pop()}, but the scale repeats with {scale.seeds}.")
    parts = pieces(plan(scale, arguments.output))
    if arguments.pieces:
        print_pieces(parts, scale)
        return
    if arguments.piece not in (None, *parts):
        parser.error(f"--piece is {arguments.piece!r}; it must be one that --pieces lists.")
    define_flags()
    be_quiet()
    start = time.perf_counter()
    request = Request(scale, arguments.claim or LETTERS, arguments.seed or scale.seeds, arguments.piece)
    results_file = arguments.results or arguments.output / "results.json"
    with stage_processes(arguments) as processes:
        record = measure(request, arguments.output, results_file, processes)
    for finding in record.findings if record else ():
        print(f"\n({finding.letter}) {finding.title}\n{table(finding)}\n{sentence(finding)}")
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
