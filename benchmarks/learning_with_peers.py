"""Learning side by side with the published program and lightly, on Fashion-MNIST.

    python benchmarks/learning_with_peers.py [--published=FOLDER] [--published_python=PATH]
      [--torch_python=PATH]
    python benchmarks/learning_with_peers.py --docs

Every contender trains the same network on the same images with the same batches, views, optimizer and rate,
in a process of its own on one core, as many at once as there are cores (with `--scale=gpu` one after the
other, on all of the machine). It writes features at the same epochs; one linear probe and one vote of
neighbors judge them all. FOLDER is tf2/ of a checkout of google-research/simclr; a contender that is not
installed is left out. Typing it again resumes: what is in --results is not repeated. `--docs` writes
docs/learning.md from it.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import queue
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.learning import page
from benchmarks.learning.pieces import Measured, Program, key, measure_piece, programs, waiting
from benchmarks.learning.settings import SCALES, Settings
from benchmarks.measuring.fashion_mnist import FashionSource, default_source, read, write_image_folder
from benchmarks.measuring.machine import machine
from benchmarks.measuring.measured_page import rewrite
from benchmarks.measuring.results_file import claim_folder

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"


def prepare(folder: pathlib.Path, settings: Settings, source: FashionSource) -> None:
    """Writes what the contenders read: settings, images in an array, and the same as a folder."""
    claim_folder(folder, settings)
    write_image_folder(folder / "images", {"train": settings.train_images}, source)
    if not (folder / "images.npz").exists():
        train, test = read("train", source), read("test", source)
        chosen = sorted(int(path.stem) for path in (folder / "images" / "train").rglob("*.png"))
        order = np.random.default_rng(0).permutation(chosen)  # The probes take the first of them.
        unfinished = folder / "unfinished_images.npz"
        np.savez(
            unfinished,
            train_images=train[0][order],
            train_labels=train[1][order],
            test_images=test[0][: settings.test_images],
            test_labels=test[1][: settings.test_images],
        )
        unfinished.rename(folder / "images.npz")


def measure(
    folder: pathlib.Path, measured: Measured, pieces: list[tuple[Program, int]], cores: list[int]
) -> None:
    """Measures pieces and notes them.

    Args:
        folder: What `prepare` has filled.
        measured: Gets them.
        pieces: Contenders and seeds.
        cores: Each piece has one of them to itself; () gives each piece in turn the whole machine.
    """
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in cores:
        free.put(core)

    def pin() -> None:
        if cores:
            os.sched_setaffinity(0, {free.get()})  # Of this thread, and so of the processes that it starts.

    with ThreadPoolExecutor(len(cores) or 1, initializer=pin) as pool:
        running = {
            pool.submit(measure_piece, program, seed, folder, measured.settings): (program, seed)
            for program, seed in pieces
        }
        for done in as_completed(running):
            program, seed = running[done]
            rows = done.result()
            found = {"machine": machine(), "versions": program.versions(), "rows": rows}
            measured.add(key(program.name, seed), found)
            last = rows[-1]
            print(
                f"{program.name}, seed {seed}: {last['seconds'] / 60:.1f} minutes, "
                f"linear {last['linear']:.4f}, neighbors {last['neighbors']:.4f}",
                flush=True,
            )


def main() -> None:
    """Measures, or writes the documentation of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="default: runs/learning_SCALE")
    parser.add_argument(
        "--scale", choices=SCALES, default="small", help="long: 10 epochs; gpu: all images, 100"
    )
    parser.add_argument("--seed", type=int, action="append", help="which to run; default: all of the scale")
    parser.add_argument("--contender", action="append", help="default: all that are installed")
    parser.add_argument("--source", choices=("debian", "tfds"), default=default_source())
    parser.add_argument("--published", metavar="FOLDER", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="with tf_keras; default: this one")
    parser.add_argument("--torch_python", default=sys.executable, help="with lightly; default: this one")
    parser.add_argument("--results", type=pathlib.Path, help="default: docs/measured/learning_SCALE.json")
    parser.add_argument("--docs", action="store_true", help="write docs/learning.md from --results")
    arguments = parser.parse_args()
    results = arguments.results or DOCS / "measured" / f"learning_{arguments.scale}.json"
    if arguments.docs:
        measured = Measured.read(results, Settings)
        page.save(measured, DOCS / "images" / "learning.png")
        rewrite(DOCS / "learning.md", page.measured_part(measured))
        return
    settings = SCALES[arguments.scale]
    if unknown := {*(arguments.seed or ())} - {*settings.seeds}:
        parser.error(f"--seed is {unknown.pop()}, but the scale has {settings.seeds}.")
    output = arguments.output or pathlib.Path(f"runs/learning_{arguments.scale}")
    measured = Measured.open(results, settings)
    contenders = []
    for program in programs(arguments.published, arguments.published_python, arguments.torch_python):
        if arguments.contender and program.name not in arguments.contender:
            continue
        if missing := program.why_missing():
            print(missing)
        else:
            contenders.append(program)
    prepare(output, settings, arguments.source)
    cores = [] if arguments.scale == "gpu" else [*os.sched_getaffinity(0)]
    measure(output, measured, waiting(contenders, measured, arguments.seed or settings.seeds), cores)
    print(page.table(measured))
    print(page.times_table(measured))


if __name__ == "__main__":
    main()
