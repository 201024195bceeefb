"""The three stages on handwritten digits: from 1437 images with 5 % of their labels to a small student.

    python benchmarks/semi_supervised.py [--output=runs/semi_supervised]

Pretrains, fine-tunes from each layer of the projection head, distils the best teacher into itself and into a
smaller network, trains both networks from scratch on the same labels, and prints one table; the same numbers
go to OUTPUT/semi_supervised.json. Means are over three draws of the labels. Every run has a process with one
thread, and as many run at once as there are cores. Typing it again resumes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
from concurrent.futures import Executor, Future

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.stages import TOP_1, a_process_a_core, be_quiet, recipe, run_stage
from flags import define_flags

LABEL_SEEDS = (0, 1, 2)
HEAD_LAYERS = (0, 1, 2)
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


class Chain:
    """The stages, each in a directory of its own below `output`; as many run at once as there are cores."""

    def __init__(self, output: pathlib.Path, cores: Executor) -> None:
        self.output = output
        self.cores = cores

    def run(self, stage: str, name: str, **changes: object) -> Future[dict[str, float]]:
        """Starts a stage, or waits for a core to do so."""
        directory = self.output / name
        config = recipe(stage, model_dir=directory, keep_hub_module_max=0, report_images=0, **changes)
        return self.cores.submit(run_stage, config)

    def pretrain(self) -> Future[dict[str, float]]:
        return self.run("digits_pretrain", "pretrained")

    def finetune(self, layer: int) -> list[Future[dict[str, float]]]:
        changes = {"checkpoint": self.output / "pretrained", "ft_proj_selector": layer}
        return [
            self.run("digits_finetune", finetuned_name(layer, seed), label_seed=seed, **changes)
            for seed in LABEL_SEEDS
        ]

    def scratch(self, size: str, **model: object) -> list[Future[dict[str, float]]]:
        return [
            self.run("digits_supervised", f"scratch_{size}_labels{seed}", label_seed=seed, **model)
            for seed in LABEL_SEEDS
        ]

    def distil(self, name: str, layer: int, **model: object) -> list[Future[dict[str, float]]]:
        return [
            self.run(
                "digits_distill",
                f"{name}_labels{seed}",
                teacher=self.output / finetuned_name(layer, seed),
                **model,
            )
            for seed in LABEL_SEEDS
        ]


def finetuned_name(layer: int, seed: int) -> str:
    """The directory of a network fine-tuned from a layer of the head."""
    return f"finetuned_layer{layer}_labels{seed}"


def row(name: str, runs: list[Future[dict[str, float]]]) -> Row:
    """Waits for the runs of a line of the table."""
    return Row(name, [run.result()[TOP_1] for run in runs])


def run_chain(chain: Chain) -> list[Row]:
    """All stages; the rows of the table."""
    pretraining = chain.pretrain()
    scratch, small_scratch = chain.scratch("large"), chain.scratch("small", **SMALL)
    pretrained = pretraining.result()
    few = next(key for key in pretrained if key.startswith("linear_") and "/final_avg_pool/" in key)
    finetuning = {layer: chain.finetune(layer) for layer in HEAD_LAYERS}
    finetuned = {
        layer: row(f"fine-tuned from head layer {layer}", runs) for layer, runs in finetuning.items()
    }
    best = max(finetuned, key=lambda layer: finetuned[layer].mean)
    self_distilled = chain.distil("self_distilled", best)
    small = chain.distil("small_student", best, **SMALL)
    return [
        row("from scratch, same labels", scratch),
        Row("linear probe of h", [pretrained[few]]),
        *finetuned.values(),
        row(f"self-distilled (teacher: layer {best})", self_distilled),
        row("distilled into the small network", small),
        row("small network from scratch", small_scratch),
    ]


def main() -> None:
    """Runs the chain and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/semi_supervised"))
    arguments = parser.parse_args()
    define_flags()
    be_quiet()
    start = time.perf_counter()
    with a_process_a_core() as cores:
        rows = run_chain(Chain(arguments.output, cores))
    print(f"\ntop-1 on 360 test digits{'':<16}{'mean':>8}   by draw of the labels")
    print("\n".join(map(str, rows)))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    table = {row.name: {"mean": row.mean, "accuracies": row.accuracies} for row in rows}
    (arguments.output / "semi_supervised.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
