"""What it is worth to choose the images that are labeled: accuracy by strategy and budget.

    python benchmarks/selection.py NETWORK --dataset=digits [--data_dir=DIR] [--output=runs/selection]

Embeds the splits `train` and `test` with a pretrained network (a model_dir, a ckpt-N or a SavedModel), lets
each strategy choose 1, 4 and 10 images per class of the training images, and classifies the test images by
the nearest mean of a class's chosen ones, in cosine: that has no setting, and one label is enough. Means
and deviations are over five draws: a draw is a random 80 % of the training images to choose from, and
the seed. The strategies do not see labels. `margin` is left out, for it needs a classifier. Prints a table;
the numbers go to OUTPUT/selection.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np

from tf_simclrv2.embedding.embed import embed
from tf_simclrv2.embedding.embed_config import EmbedConfig
from tf_simclrv2.embedding.embedding_file import read_embeddings
from tf_simclrv2.embedding.embeddings import Embeddings
from tf_simclrv2.embedding.selection import Candidates, choose

STRATEGIES = ("uniform", "coverage", "typical")
PER_CLASS = (1, 4, 10)
DRAWS = 5
POOL = 0.8


def accuracy(train: Embeddings, test: Embeddings, strategy: str, per_class: int, draw: int) -> float:
    """Chooses images, labels them, and returns the accuracy of the nearest class mean."""
    classes = sorted(set(train.classes.tolist()))
    pool = np.sort(np.random.default_rng(draw).permutation(len(train))[: round(POOL * len(train))])
    vectors, names = train.vectors[pool], train.classes[pool]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    free = Candidates(unit, train.margins[pool], np.zeros(len(pool), bool), draw)
    chosen = choose(strategy, free, per_class * len(classes))
    found = sorted(set(names[chosen].tolist()))
    centers = np.stack([unit[chosen][names[chosen] == name].mean(axis=0) for name in found])
    predicted = (test.vectors @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T).argmax(axis=1)
    return float(np.mean(np.array(found)[predicted] == test.classes))


def measure(train: Embeddings, test: Embeddings, draws: int = DRAWS) -> dict[str, dict[int, list[float]]]:
    """Returns the accuracy of each draw by strategy and labels per class."""
    return {
        strategy: {
            per_class: [accuracy(train, test, strategy, per_class, draw) for draw in range(draws)]
            for per_class in PER_CLASS
        }
        for strategy in STRATEGIES
    }


def table(found: dict[str, dict[int, list[float]]]) -> str:
    """Returns Markdown: percent, mean and standard deviation over the draws."""
    head = ["| chosen by |", *(f" {per_class} per class |" for per_class in PER_CLASS)]
    lines = ["".join(head), "|---|" + "---|" * len(PER_CLASS)]
    for strategy, by_budget in found.items():
        cells = (
            f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"
            for values in by_budget.values()
        )
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Embeds, chooses, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("--dataset", default="digits", help="or image_folder, with --data_dir")
    parser.add_argument("--data_dir")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/selection"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    files = []
    for split in ("train", "test"):
        path = arguments.output / f"{split}.npz"
        if not path.exists():
            embed(
                EmbedConfig(
                    arguments.network,
                    str(path),
                    data_dir=arguments.data_dir,
                    dataset=arguments.dataset,
                    split=split,
                ),
                print,
            )
        files.append(read_embeddings(str(path)))
    found = measure(*files)
    (arguments.output / "selection.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
