"""Throughput of the input pipeline: JPEG files of 500x375 to two augmented views of 224 px, on the host.

    python benchmarks/input_pipeline.py [--images=512] [--rounds=3]
    python benchmarks/input_pipeline.py --peer=lightly [--torch_python=PATH]
    python benchmarks/input_pipeline.py --published=FOLDER [--published_python=PATH]

Ours decodes, crops and jitters in tf.data and blurs whole batches. Lightly's SimCLRTransform runs in a
DataLoader of PyTorch with as many workers as there are cores. The published program is a checkout of
google-research/simclr: FOLDER is its tf2/, whose data_util.py augments and blurs as its data.py and run.py
have it. Each turn is a process of its own that makes `--images` pairs of views after two batches of warm-up,
and turns alternate. Prints a table for views without and with blur and, with --json, every number.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.batch_timing import seconds_of
from benchmarks.measuring.comparison import Contender, markdown, take_turns
from benchmarks.measuring.machine import machine
from benchmarks.measuring.pictures import write_pictures

CONTENDERS = pathlib.Path(__file__).resolve().parent / "contenders"
BATCH, SIZE = 32, 224


def seconds_of_ours(
    folder: str, batches: int, blur: bool, batch_size: int = BATCH, size: int = SIZE
) -> float:
    """Seconds that our pipeline takes for some batches after the warm-up, in this process."""
    import tensorflow as tf

    from tf_simclrv2 import DataConfig
    from tf_simclrv2.data import (
        BatchOptions,
        batch_random_blur,
        example_seeds,
        load_source,
        pretraining_batches,
    )

    config = DataConfig(dataset="image_folder", data_dir=folder, use_blur=blur)
    source = load_source(config, "train")
    stream = iter(pretraining_batches(source, config, BatchOptions(size, batch_size)))

    @tf.function
    def made() -> list[tf.Tensor]:
        batch = next(stream)
        views = [batch["view_1"], batch["view_2"]]
        if blur:
            names = ("view_1/blur", "view_2/blur")
            seeds = [example_seeds(0, batch["key"], name) for name in names]
            views = [batch_random_blur(*pair, size) for pair in zip(views, seeds, strict=True)]
        return views

    return seconds_of(lambda: made()[0].numpy(), batches)


def contenders(folder: str, batches: int, blur: bool, arguments: argparse.Namespace) -> list[Contender]:
    """Ours and whoever else is asked for."""
    values = [folder, str(batches), str(int(blur))]
    made = [Contender("ours", [sys.executable, __file__, "--here", *values])]
    if arguments.published:
        program = [
            arguments.published_python,
            str(CONTENDERS / "published_input_pipeline.py"),
            arguments.published,
        ]
        made.append(Contender("published", [*program, *values, str(BATCH), str(SIZE)]))
    if arguments.peer == "lightly":
        program = [arguments.torch_python, str(CONTENDERS / "lightly_input_pipeline.py")]
        made.append(Contender("lightly", [*program, *values, str(BATCH), str(SIZE)]))
    return made


def main() -> None:
    """Measures both kinds of views and prints them."""
    if sys.argv[1:2] == ["--here"]:
        folder, batches, blur = sys.argv[2:]
        print(json.dumps([seconds_of_ours(folder, int(batches), blur == "1")]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=512, help=f"pairs of views of a turn, in batches of {BATCH}"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument(
        "--peer", default="none", choices=["lightly", "torch", "none"], help="torch: lightly's"
    )
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has lightly")
    parser.add_argument("--published", help="tf2/ of a checkout of google-research/simclr")
    parser.add_argument("--published_python", default=sys.executable, help="an interpreter that runs it")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.peer == "torch":
        arguments.peer = "lightly"  # PyTorch itself has no two views.
    batches = max(1, arguments.images // BATCH)
    results = {}
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(pathlib.Path(folder), 4 * BATCH)
        for title, blur in (("two views without blur", False), ("two views with blur", True)):
            results[title] = take_turns(contenders(folder, batches, blur, arguments), arguments.rounds)
            print("\n" + markdown(title, results[title], batches * BATCH, "images"), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "seconds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
