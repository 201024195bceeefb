"""`simclrv2 auto` beside the stages that were tuned by hand, with the same labels of handwritten digits.

    python benchmarks/auto_on_digits.py [--draw=0 ...] [--chain=auto ...] [--output=runs/auto_on_digits]
    python benchmarks/auto_on_digits.py --docs

1,437 pictures in one folder, 7 labels per class in a CSV file, and 360 other pictures to measure on. Every
draw of the labels is given to the recipes `digits_*` (ResNet-34, fine-tuned from layer 1, self-distilled) and
to auto, with a budget. What auto exports is loaded and asked for the class of each test picture. It plans by
the speed that it measures, so nothing else should run meanwhile. What is in --results is not repeated;
`--docs` writes it to docs/auto.md.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from benchmarks.measuring.machine import machine
from benchmarks.measuring.measured_page import NOTHING, rewrite
from benchmarks.measuring.results_file import ResultsFile, claim_folder
from tf_simclrv2.data.digits import read_digits
from tf_simclrv2.files import read_json
from tf_simclrv2.report.run_record import RESULT_FILE

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TOP_1 = "eval/label_top_1_accuracy"
CHAINS = ("by hand", "auto")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What both are given.

    Attributes:
        labels_per_class: Of the pictures that are trained on.
        draws: Of the labels, each the seed of a generator.
        budget: Of auto.
    """

    labels_per_class: int = 7
    draws: tuple[int, ...] = (0, 1, 2)
    budget: str = "10m"


Measured = ResultsFile[Settings]


def main() -> None:
    """Measures what is not known yet, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/auto_on_digits"))
    parser.add_argument("--results", type=pathlib.Path, default=DOCS / "measured" / "auto.json")
    parser.add_argument("--draw", type=int, action="append", help="of the labels; default: all")
    parser.add_argument("--chain", choices=CHAINS, action="append", help="default: both")
    parser.add_argument("--docs", action="store_true", help="write docs/auto.md from --results")
    arguments = parser.parse_args()
    measured = Measured.open(arguments.results, Settings())
    if arguments.docs:
        rewrite(DOCS / "auto.md", table(measured))
        return
    claim_folder(arguments.output, measured.settings)
    pictures = (arguments.output / "pictures").absolute()
    write_pictures(pictures, measured.settings)
    for draw in arguments.draw or measured.settings.draws:
        for chain in arguments.chain or CHAINS:
            name = f"{chain}/{draw}"
            if name not in measured.results:
                measure = by_hand if chain == CHAINS[0] else auto
                found = measure(arguments.output, pictures, draw, measured.settings)
                measured.add(name, {"machine": machine(), **found})
                print(name, measured.results[name], flush=True)
    print(table(measured))


def write_pictures(folder: pathlib.Path, settings: Settings) -> None:
    """Writes FOLDER/train, flat, FOLDER/test, by class, and for each draw FOLDER/labels_DRAW.csv."""
    images, labels, splits = read_digits()
    train = splits["train"]
    paths = {index: pathlib.Path("train", f"{index:05}.png") for index in train}
    paths |= {
        index: pathlib.Path("test", class_name(labels[index]), f"{index:05}.png") for index in splits["test"]
    }
    for index, path in paths.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index, ..., 0]).save(folder / path)
    for draw in settings.draws:
        rng = np.random.default_rng(draw)
        of_class = [train[labels[train] == digit] for digit in range(10)]
        chosen = np.concatenate(
            [rng.choice(each, settings.labels_per_class, replace=False) for each in of_class]
        )
        with (folder / f"labels_{draw}.csv").open("w", newline="") as file:
            rows = sorted((str(paths[index]), class_name(labels[index])) for index in chosen)
            csv.writer(file).writerows([("path", "label"), *rows])


def class_name(digit: int) -> str:
    """Of a digit."""
    return f"digit_{digit}"


def by_hand(output: pathlib.Path, pictures: pathlib.Path, draw: int, settings: Settings) -> dict[str, float]:
    """The accuracies of the recipes' fine-tuned and distilled networks; all draws share their pretraining."""
    pretrained, own = output / "by_hand_pretrained", output / f"by_hand_{draw}"
    given = ["--dataset=image_folder", f"--data_dir={pictures}", "--train_split=train"]
    given += ["--labels_per_class=0", f"--labels_from={pictures}/labels_{draw}.csv"]
    run_recipe("pretrain", pretrained)  # On the dataset `digits`, from which the pictures are.
    run_recipe("finetune", own / "finetuned", f"--checkpoint={pretrained}", "--ft_proj_selector=1", *given)
    run_recipe("distill", own / "distilled", f"--teacher={own}/finetuned", *given)
    return {stage: read_json(str(own / stage / RESULT_FILE))[TOP_1] for stage in ("finetuned", "distilled")}


def run_recipe(name: str, model_dir: pathlib.Path, *flags: str) -> None:
    """Runs a recipe of digits; continues one that was stopped, and leaves alone one that has ended."""
    if not (model_dir / RESULT_FILE).exists():
        command = [ROOT / "run.py", f"--flagfile={ROOT}/flags/recipes/digits_{name}.cfg"]
        subprocess.run([sys.executable, *command, *flags, f"--model_dir={model_dir}"], check=True)


def auto(output: pathlib.Path, pictures: pathlib.Path, draw: int, settings: Settings) -> dict[str, float]:
    """The accuracy of what auto exports, those of its stages, and the seconds that it took."""
    job = output / f"auto_{draw}"
    shutil.rmtree(job, ignore_errors=True)  # A stopped one would have had more time.
    data = [f"--data_dir={pictures}", f"--labels_from={pictures}/labels_{draw}.csv"]
    command = [*data, f"--output={job}", f"--budget={settings.budget}", "--", "--random_flip=false"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tf_simclrv2", "auto", *command], check=True, cwd=ROOT)
    found: dict[str, Any] = {"seconds": time.perf_counter() - start}
    for stage in ("finetuned", "distilled"):
        if (result := job / stage / RESULT_FILE).exists():
            found[stage] = read_json(str(result))[TOP_1]
    return {**found, "exported": exported_accuracy(job / "model", pictures / "test")}


def exported_accuracy(model: pathlib.Path, test: pathlib.Path) -> float:
    """Asks an exported network for the class of each picture of a folder of classes."""
    answers = model.parent / "answers.csv"
    asked = [str(model), f"--data_dir={test}", f"--output={answers}", "--overwrite"]
    subprocess.run([sys.executable, "-m", "tf_simclrv2", "embed", *asked], check=True, cwd=ROOT)
    with answers.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return statistics.mean(row["prediction"] == pathlib.Path(row["path"]).parent.name for row in rows)


def table(measured: Measured) -> str:
    """Top-1 in percent, a line for each network, and how long auto took."""
    if not measured.results:
        return NOTHING
    rows = {
        "by hand, fine-tuned": ("by hand", "finetuned"),
        "by hand, self-distilled": ("by hand", "distilled"),
        "auto, fine-tuned": ("auto", "finetuned"),
        "auto, self-distilled": ("auto", "distilled"),
        "auto, what it exports": ("auto", "exported"),
    }
    draws = [
        draw
        for draw in measured.settings.draws
        if any(f"{chain}/{draw}" in measured.results for chain in CHAINS)
    ]
    lines = [
        f"| | {' | '.join(f'labels {draw}' for draw in draws)} | mean |",
        "|---|" + "---|" * (len(draws) + 1),
    ]
    for title, (chain, network) in rows.items():
        found = [measured.results.get(f"{chain}/{draw}", {}).get(network) for draw in draws]
        known = [100 * value for value in found if value is not None]
        cells = ["" if value is None else f"{100 * value:.1f}" for value in found]
        if known:
            mean = f"{statistics.mean(known):.1f}" if len(known) == len(draws) else ""
            lines.append(f"| {title} | {' | '.join(cells)} | {mean} |")
    minutes = [
        result["seconds"] / 60 for name, result in measured.results.items() if name.startswith("auto/")
    ]
    times = f"Auto took {', '.join(f'{each:.1f}' for each in minutes)} minutes." if minutes else ""
    return "\n".join([*lines, *(["", times] if times else [])])


if __name__ == "__main__":
    main()
