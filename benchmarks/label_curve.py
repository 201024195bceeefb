"""Accuracy against the number of labels per class: what each stage of the method is worth.

    python benchmarks/label_curve.py [--scale=digits] [--seed=0 ...] [--per_class=10 ...]
        [--finetune_rate=3.0] [--scratch_rate=4.0]
    python benchmarks/label_curve.py --docs

For each seed a network is pretrained; for each number of labels it is probed, fine-tuned from every layer of
its head, and the one that is best on validation images is distilled into itself and into a smaller network.
Beside that both networks are trained from scratch, and a linear classifier learns the pixels. Every seed and
number of labels is a point of its own: those in --results are not repeated, and a point that was stopped
continues. The scale `digits` is of handwritten digits, `small` and `full` of Fashion-MNIST. `--docs` writes
docs/labels.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
import time
from concurrent.futures import as_completed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.labels import page
from benchmarks.labels.points import IMAGES, Measured, key, measure_point, pretrain
from benchmarks.labels.settings import SCALES, Settings
from benchmarks.measuring.fashion_mnist import default_source, write_image_folder
from benchmarks.measuring.measured_page import rewrite
from benchmarks.measuring.results_file import claim_folder
from benchmarks.measuring.stages import add_process_flags, be_quiet, stage_processes

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    """Measures, or writes the documentation of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="default: runs/label_curve_SCALE")
    parser.add_argument("--scale", choices=SCALES, default="digits", help="full asks for a GPU")
    parser.add_argument("--seed", type=int, action="append", help="which to run; default: all of the scale")
    parser.add_argument("--per_class", type=int, action="append", help="labels; default: all of the scale")
    parser.add_argument("--source", choices=("debian", "tfds"), default=default_source())
    parser.add_argument("--finetune_rate", type=float, help="of learning; default: the scale's")
    parser.add_argument("--scratch_rate", type=float, help="of learning; default: the scale's")
    parser.add_argument("--results", type=pathlib.Path, help="default: docs/measured/labels_SCALE.json")
    parser.add_argument("--docs", action="store_true", help="write docs/labels.md from docs/measured")
    add_process_flags(parser)
    arguments = parser.parse_args()
    if arguments.docs:
        if arguments.results:
            parser.error(
                "--docs writes what is in docs/measured; copy the results there, and leave --results out."
            )
        write_docs()
        return
    results = arguments.results or results_of(arguments.scale)
    settings, start = settings_of(arguments), time.perf_counter()
    for name, allowed in (("seed", settings.seeds), ("per_class", settings.per_class)):
        if unknown := {*(getattr(arguments, name) or ())} - {*allowed}:
            parser.error(f"--{name} is {unknown.pop()}, but the scale has {allowed}.")
    output = arguments.output or pathlib.Path(f"runs/label_curve_{arguments.scale}")
    claim_folder(output, settings)
    measured = Measured.open(results, settings)
    counts = {"train": settings.train_images, "test": settings.test_images}
    if settings.source is not None:
        write_image_folder(output / IMAGES, counts, settings.source, settings.validation_images)
    be_quiet()
    waiting = [
        (seed, per_class)
        for seed in arguments.seed or settings.seeds
        for per_class in arguments.per_class or settings.per_class
        if key(seed, per_class) not in measured.results
    ]
    with stage_processes(arguments, tasks=1) as processes:
        seeds = dict.fromkeys(seed for seed, _ in waiting)
        pretrained = {seed: processes.submit(pretrain, settings, output, seed) for seed in seeds}
        running = {}
        for seed, per_class in sorted(waiting, key=lambda each: (each[0], -each[1])):  # The longest first.
            pretrained[seed].result()
            found = processes.submit(measure_point, settings, output, seed, per_class)
            running[found] = key(seed, per_class)
        for done in as_completed(running):
            measured.add(running[done], done.result())
    print(page.table(measured))
    print(page.layer_table(measured))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Those of the scale, with what the command line changes."""
    settings = SCALES[arguments.scale]
    rates = {name: getattr(arguments, name) for name in ("finetune_rate", "scratch_rate")}
    source = None if settings.source is None else arguments.source
    changes = {name: rate for name, rate in rates.items() if rate is not None}
    return dataclasses.replace(settings, source=source, **changes)


def results_of(scale: str) -> pathlib.Path:
    """Where the points of a scale are committed."""
    return DOCS / "measured" / f"labels_{scale}.json"


def committed() -> dict[str, Measured]:
    """What has been measured, by scale."""
    found = {scale: results_of(scale) for scale in SCALES}
    return {scale: Measured.read(path, Settings) for scale, path in found.items() if path.exists()}


def write_docs() -> None:
    """Writes docs/labels.md and its pictures."""
    scales = committed()
    for scale, measured in scales.items():
        page.save(measured, DOCS / page.picture(scale))
    rewrite(DOCS / "labels.md", page.measured_part(scales))


if __name__ == "__main__":
    main()
