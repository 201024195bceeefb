"""The three stages on handwritten digits: from 1437 images with 5 % of their labels to a small student.

    python benchmarks/semi_supervised.py [--output=runs/semi_supervised]

Pretrains, fine-tunes from each layer of the projection head, distils the best teacher into itself and into a
smaller network, trains both networks from scratch on the same labels, and prints one table; the same numbers
go to OUTPUT/semi_supervised.json. Means are over three draws of the labels. Typing it again resumes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import keras
import tensorflow as tf
from absl import flags, logging

from flags import config_from_flags, define_flags
from tf_simclrv2 import ExperimentConfig
from tf_simclrv2.training.loop import Run

RECIPES = pathlib.Path(__file__).resolve().parent.parent / "flags" / "recipes"
LABEL_SEEDS = (0, 1, 2)
HEAD_LAYERS = (0, 1, 2)
TOP_1 = "eval/label_top_1_accuracy"
SMALL = {"resnet_depth": 18}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: accuracies by label seed."""

    name: str
    accuracies: list[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracies)

    def __str__(self) -> str:
        each = "  ".join(f"{accuracy:.4f}" for accuracy in self.accuracies)
        return f"  {self.name:<38}{self.mean:>8.4f}   {each}"


def recipe(name: str, **changes: object) -> ExperimentConfig:
    """The config of a recipe with some flags changed."""
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS:
        flags.FLAGS[flag].unparse()
    arguments = [f"--{flag}={value}" for flag, value in changes.items()]
    flags.FLAGS(["semi_supervised.py", f"--flagfile={RECIPES / f'{name}.cfg'}", *arguments])
    return config_from_flags()


class Chain:
    """The stages, each in a directory of its own below `output`."""

    def __init__(self, output: pathlib.Path) -> None:
        self.output = output

    def run(self, stage: str, name: str, **changes: object) -> dict[str, float]:
        """Runs a stage, or takes its result if it is already there."""
        directory = self.output / name
        finished = directory / "result.json"
        if not finished.exists():
            with _timed(name):
                keras.backend.clear_session()
                config = recipe(stage, model_dir=directory, keep_hub_module_max=0, report_images=0, **changes)
                Run(config, say=lambda line: None).execute()
        return json.loads(finished.read_text())

    def pretrain(self) -> dict[str, float]:
        return self.run("digits_pretrain", "pretrained")

    def finetune(self, layer: int, seed: int) -> float:
        checkpoint = self.output / "pretrained"
        name = f"finetuned_layer{layer}_labels{seed}"
        changes = {"checkpoint": checkpoint, "ft_proj_selector": layer, "label_seed": seed}
        return self.run("digits_finetune", name, **changes)[TOP_1]

    def scratch(self, seed: int, size: str, **model: object) -> float:
        name = f"scratch_{size}_labels{seed}"
        return self.run("digits_supervised", name, label_seed=seed, **model)[TOP_1]

    def distil(self, name: str, teacher: str, **changes: object) -> float:
        return self.run("digits_distill", name, teacher=self.output / teacher, **changes)[TOP_1]


@contextlib.contextmanager
def _timed(name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def run_chain(output: pathlib.Path) -> list[Row]:
    """All stages; the rows of the table."""
    chain = Chain(output)
    pretrained = chain.pretrain()
    few = next(key for key in pretrained if key.startswith("linear_") and "/final_avg_pool/" in key)
    rows = [
        Row("from scratch, same labels", [chain.scratch(seed, "large") for seed in LABEL_SEEDS]),
        Row("linear probe of h", [pretrained[few]]),
    ]
    finetuned = {layer: [chain.finetune(layer, seed) for seed in LABEL_SEEDS] for layer in HEAD_LAYERS}
    rows += [Row(f"fine-tuned from head layer {layer}", found) for layer, found in finetuned.items()]
    best = max(finetuned, key=lambda layer: statistics.mean(finetuned[layer]))
    teachers = [f"finetuned_layer{best}_labels{seed}" for seed in LABEL_SEEDS]
    self_distilled = [
        chain.distil(f"self_distilled_labels{seed}", teacher)
        for seed, teacher in zip(LABEL_SEEDS, teachers, strict=True)
    ]
    rows.append(Row(f"self-distilled (teacher: layer {best})", self_distilled))
    small = [
        chain.distil(f"small_student_labels{seed}", teacher, **SMALL)
        for seed, teacher in zip(LABEL_SEEDS, teachers, strict=True)
    ]
    rows.append(Row("distilled into the small network", small))
    rows.append(
        Row("small network from scratch", [chain.scratch(seed, "small", **SMALL) for seed in LABEL_SEEDS])
    )
    return rows


def main() -> None:
    """Runs the chain and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/semi_supervised"))
    arguments = parser.parse_args()
    define_flags()
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")  # Many small runs trace many functions, which it would warn of.
    start = time.perf_counter()
    rows = run_chain(arguments.output)
    print(f"\ntop-1 on 360 test digits{'':<16}{'mean':>8}   by draw of the labels")
    print("\n".join(map(str, rows)))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    table = {row.name: {"mean": row.mean, "accuracies": row.accuracies} for row in rows}
    (arguments.output / "semi_supervised.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
